"""What a step says while it is followed reaches its own listener, through the world's own clients."""

from __future__ import annotations

from pathlib import Path

from actions.world import World
from bot import settings

ROOT = Path(__file__).parents[2]


def world() -> World:
    return World(settings.load(ROOT / "dr.toml"))


def test_two_steps_that_are_followed_at_once_do_not_mix_their_sentences() -> None:
    whole, one, two = world(), list[str](), list[str]()
    first, second = whole.followed(one.append), whole.followed(two.append)
    first.progress("a")
    second.progress("b")
    first.progress("c")
    whole.progress("nobody listens")
    assert (one, two) == (["a", "c"], ["b"])


async def test_a_followed_world_has_the_clients_of_the_whole_one() -> None:
    whole = world()
    view = whole.followed(print)
    assert view.http is whole.http
    assert whole.followed(print).followed(print).http is whole.http
    await whole.close()
