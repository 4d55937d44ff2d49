"""Which part of a text is in the message and which in its thread: what people approve is never cut unless it is whole there.

A message takes 10,000 characters of blocks and 3,000 in a section. The longest pieces go to the thread until the rest fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from actions.scrub import scrub
from bot.slack.blocks import LONGEST_SECTION, Block, code, length, sections, size
from bot.slack.mrkdwn import inert

IN_THREAD = "… (whole in the thread)"
BEGINNING = 60  # characters of a piece that the message shows if the whole is in the thread
LONGEST_REPLY = 2700  # of the text; its heading and signs come to it
PACKED = 8000  # characters of a reply that holds several parts, each of which is a section of its own
PART = "\n\u200b\u200b\n"  # stands between the parts of a packed reply; nobody sees it


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
        """All of it under its name, in parts that each fit into a section."""
        parts = list(self.parts())
        for number, part in enumerate(parts, 1):
            which = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
            yield f"*{self.name}*{which}\n{part}"

    def parts(self) -> Iterator[str]:
        """All of it as markup, in parts that each fit into a section."""
        text = inert(scrub(self.text))
        for part in split(text, LONGEST_REPLY // 2 if self.is_code and "`" in text else LONGEST_REPLY):
            yield code(part) if self.is_code else part


@dataclass(kw_only=True)
class Draft:
    """A message while it is laid out: `say` takes a piece and returns what the message shows of it."""

    away: frozenset[str] = frozenset()
    pieces: list[Piece] = field(default_factory=list)

    def say(self, name: str, text: str, *, is_code: bool = False, end: str = IN_THREAD, ours: bool = False) -> str:
        """The piece as the message shows it: whole, or its beginning and where the rest is. Mentions count if it's `ours`."""
        text = text if ours else inert(text)
        piece = Piece(name=name, text=scrub(text), is_code=is_code)  # a secret that is cut in two is no longer recognised
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


def lay_out_blocks(build: Callable[[Draft], list[Block]], budget: int, *, away: frozenset[str] = frozenset()) -> list[Block]:
    """The same for any blocks, of which the longest pieces are shortened until they fit."""
    while True:
        draft = Draft(away=away)
        blocks = build(draft)
        texts = [block["text"]["text"] for block in blocks if block["type"] == "section" and "text" in block]
        fits = size(blocks) <= budget and all(length(text) <= LONGEST_SECTION for text in texts)
        longest = None if fits else draft.longest()
        if longest is None:
            return blocks
        away = away | {longest}


def pack(parts: Iterable[str], between: str = "\n\n") -> tuple[str, ...]:
    """Parts as few replies: as many in a section, and as many sections in a reply, as fit. None of them is cut."""
    sections: list[str] = []
    for part in parts:
        if sections and length(sections[-1]) + length(part) + len(between) <= LONGEST_SECTION - 50:
            sections[-1] += between + part
        else:
            sections.append(part)
    replies: list[str] = []
    for section in sections:
        if replies and length(replies[-1]) + length(section) <= PACKED:
            replies[-1] += PART + section
        else:
            replies.append(section)
    return tuple(replies)


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
