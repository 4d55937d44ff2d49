"""What comes from elsewhere is shown as it is and wakes nobody; our own mentions stay mentions."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.slack.mrkdwn import escape, inert, shown

MARKUP = re.compile(r"<[^<>]*>")
pieces = st.lists(
    st.sampled_from(["<", ">", "&", "&lt;", "<!channel>", "<@U0BOB>", "<https://x|here>", "word ", "\n"]), max_size=9
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("ValueError: <class 'int'> & more", "ValueError: &lt;class 'int'&gt; &amp; more"),
        ("<!channel> wake up", "&lt;!channel&gt; wake up"),
        ("<!here|here> <!subteam^S123|x>", "&lt;!here|here&gt; &lt;!subteam^S123|x&gt;"),
        ("<!subteam^S123> may", "<!subteam^S123> may"),
        (inert("<@U0BOB> <!subteam^S123>"), "&lt;\u200b@U0BOB&gt; &lt;\u200b!subteam^S123&gt;"),
        ("read <https://evil.example|the runbook>", "read &lt;https://evil.example|the runbook&gt;"),
        ("<@U0BOB> approved it in <#C0INCIDENT>", "<@U0BOB> approved it in <#C0INCIDENT>"),
        ("at <!date^1736937000^{time_secs}|10:30:00 UTC>", "at <!date^1736937000^{time_secs}|10:30:00 UTC>"),
        ("typed a &lt; b, as Slack delivers it", "typed a &lt; b, as Slack delivers it"),
    ],
)
def test_only_our_own_mentions_and_moments_stay_markup(said: str, shown: str) -> None:
    assert escape(said) == shown
    assert escape(shown) == shown


@given(pieces.map("".join))
@example("<<@U0BOB>>")
def test_nothing_foreign_is_markup_and_nothing_is_lost(text: str) -> None:
    marked = escape(text)
    assert set(MARKUP.findall(marked)) <= {"<@U0BOB>"}
    assert html.unescape(marked) == html.unescape(text)


@given(pieces.map("".join), st.integers(20, 60))
def test_what_is_cut_ends_within_no_entity_and_no_mention(text: str, most: int) -> None:
    kept = shown(text, most)
    assert len(kept) <= most
    rest = kept.removesuffix(" … (cut short)")
    assert not re.search(r"&(?!(amp|lt|gt);)", rest)
    assert set(re.findall(r"<[^<>]*>?", rest)) <= {"<@U0BOB>"}
