"""What of a text stands in the message and what in its thread: nothing that people approve is cut without the whole of it.

A message takes 10,000 characters of blocks and 3,000 in a section. The longest pieces go to the thread until the rest fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from actions.scrub import scrub
from bot.blocks import LONGEST_SECTION, Block, code, length, sections, size

IN_THREAD = "… (whole in the thread)"
BEGINNING = 60  # characters of a piece that the message shows if the whole is in the thread
LONGEST_REPLY = 2700  # of the text; its heading and signs come to it


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A text that people must be able to read to its end: a command, a title, a sentence. Its name is unique in a message."""

    name: str
    text: str
    is_code: bool = False

    def whole(self) -> str:
        """All of it, as markup."""
        return code(self.text) if self.is_code else self.text

    def beginning(self, end: str) -> str:
        """Its beginning on one line, and where the rest is."""
        start = " ".join(self.text[:BEGINNING].split())
        return f"{code(start) if self.is_code else start} {end}"

    def replies(self) -> Iterator[str]:
        """All of it, as one message in the thread or several."""
        parts = list(split(self.text))
        for number, part in enumerate(parts, 1):
            which = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
            yield f"*{self.name}*{which}\n{code(part) if self.is_code else part}"


@dataclass(kw_only=True)
class Draft:
    """A message while it is laid out: `say` takes a piece and returns what the message shows of it."""

    away: frozenset[str] = frozenset()
    pieces: list[Piece] = field(default_factory=list)

    def say(self, name: str, text: str, *, is_code: bool = False, end: str = IN_THREAD) -> str:
        """The piece as the message shows it: whole, or its beginning and where the rest is."""
        piece = Piece(name=name, text=scrub(text), is_code=is_code)  # a secret that is cut in two is not known as one any more
        self.pieces.append(piece)
        return piece.beginning(end) if name in self.away else piece.whole()

    def longest(self) -> str | None:
        """The name of the longest piece that is still whole; None if what is left is short anyway."""
        left = [piece for piece in self.pieces if piece.name not in self.away and len(piece.text) > BEGINNING]
        return max(left, key=lambda piece: length(piece.text)).name if left else None


Groups = list[list[str]]  # paragraphs; each is lines, of which none may be cut
Build = Callable[[Draft], Groups]


@dataclass(frozen=True, kw_only=True)
class Laid:
    """A message that fits: its blocks, which pieces are not whole in it, and the replies that hold those."""

    blocks: list[Block]
    away: frozenset[str]
    replies: tuple[str, ...]


def lay_out(build: Build, budget: int, *, away: frozenset[str] = frozenset()) -> Laid:
    """Lay a message out within `budget` characters of blocks. The same pieces always give the same layout."""
    while True:
        draft = Draft(away=away)
        groups = build(draft)
        blocks = [block for lines in groups for block in sections(lines)]
        longest = None if _fits(groups, blocks, budget) else draft.longest()
        if longest is None:
            replies = (reply for piece in draft.pieces if piece.name in away for reply in piece.replies())
            return Laid(blocks=blocks, away=away, replies=tuple(replies))
        away = away | {longest}


def _fits(groups: Groups, blocks: list[Block], budget: int) -> bool:
    return size(blocks) <= budget and all(length(line) < LONGEST_SECTION for lines in groups for line in lines)


def split(text: str, longest: int = LONGEST_REPLY) -> Iterator[str]:
    """The text in parts that each fit into a reply, or are no longer than `longest`."""
    while text:
        most = longest
        while length(text[:most]) > longest:
            most = most * 3 // 4
        yield text[:most]
        text = text[most:]
