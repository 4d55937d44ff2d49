"""The merge of two sorted lists of rows: it says what a comparison of whole lists says, wherever the batches end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from actions.db.diff_merge import Entry, merged

ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.booleans()), max_size=20).map(sorted)


async def in_batches(rows: Sequence[tuple[int, int, bool]], size: int) -> AsyncIterator[list[Entry]]:
    for start in range(0, len(rows), size):
        await asyncio.sleep(0)
        yield [(key, hashed, later, (str(key),), "") for key, hashed, later in rows[start : start + size]]


def all_of(
    ours: Sequence[tuple[int, int, bool]], theirs: Sequence[tuple[int, int, bool]], size: int, *, has_key: bool
) -> Counter:
    async def collect() -> Counter:
        batches = merged(in_batches(ours, size), in_batches(theirs, size + 1), has_key=has_key)
        return Counter([(kind, int(key[0] or 0)) async for batch in batches for kind, key, _, _ in batch])

    return asyncio.run(collect())


def at_once(ours: Sequence[tuple[int, int, bool]], theirs: Sequence[tuple[int, int, bool]]) -> Counter:
    """The same by looking at each key's rows as a whole."""
    found: Counter = Counter()
    for key in range(10):
        a, b = ([row for row in rows if row[0] == key] for rows in (ours, theirs))
        if not a or not b:
            found += Counter({("extra" if a else "missing", key): len(a) + len(b)})
        elif len(a) == len(b) == 1:
            found += Counter({("touched" if a[0][2] else "changed", key): int(a[0][1] != b[0][1])})
        else:
            found += Counter({("twice", key): int(Counter(r[1] for r in a) != Counter(r[1] for r in b))})
    return found


@given(ROWS, ROWS, st.integers(1, 7))
def test_the_merge_says_what_whole_lists_say(ours: list, theirs: list, size: int) -> None:
    assert all_of(ours, theirs, size, has_key=True) == at_once(ours, theirs)


@given(ROWS, ROWS, st.integers(1, 7))
def test_without_a_key_rows_are_counted(ours: list, theirs: list, size: int) -> None:
    a, b = (Counter(key for key, _, _ in rows) for rows in (ours, theirs))
    wanted = Counter({("extra", key): n for key, n in (a - b).items()}) + Counter(
        {("missing", key): n for key, n in (b - a).items()}
    )
    assert all_of(ours, theirs, size, has_key=False) == wanted
