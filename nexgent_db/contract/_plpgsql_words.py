"""Steps through the lexemes of a PL/pgSQL body. Pure."""

from __future__ import annotations

from nexgent_db.contract._plpgsql_nodes import Piece, Unreadable
from nexgent_db.queries.lexer import Lexeme, lexemes

__all__ = ["Words", "identifier"]


def identifier(lexeme: Lexeme) -> str | None:
    """The name that a word or a quoted identifier is; None for everything else."""
    if lexeme.kind == "word":
        return lexeme.text
    if lexeme.kind == "quoted" and lexeme.text.startswith('"'):
        return lexeme.text[1:-1].replace('""', '"')
    return None


class Words:
    """The lexemes of a body, and the place in them."""

    def __init__(self, body: str) -> None:
        self.body = body
        self.items = list(lexemes(body))
        self.place = 0

    def unreadable(self, wanted: str) -> Unreadable:
        """The error that something else is next than what is wanted."""
        there = f"{self.text(0)!r}" if self.place < len(self.items) else "the end of the body"
        return Unreadable(self.start, f"{there} where {wanted} was expected")

    @property
    def start(self) -> int:
        """The offset of the next lexeme."""
        return self.items[self.place].start if self.place < len(self.items) else len(self.body)

    def text(self, ahead: int = 0) -> str:
        """The text of the next lexeme, or of one behind it; empty at the end."""
        place = self.place + ahead
        return self.items[place].text if place < len(self.items) else ""

    def skip(self, *texts: str) -> bool:
        """Skip these lexemes when they are next."""
        if all(self.text(number) == text for number, text in enumerate(texts)):
            self.place += len(texts)
            return True
        return False

    def need(self, *texts: str) -> int:
        """Skip these lexemes; the offset behind them. Raises Unreadable when others are next."""
        for text in texts:
            if not self.skip(text):
                raise self.unreadable(text.upper())
        last = self.items[self.place - 1]
        return last.start + len(last.text)

    def name(self) -> str:
        """Skip a name and return it. Raises Unreadable when none is next."""
        name = identifier(self.items[self.place]) if self.place < len(self.items) else None
        if name is None:
            raise self.unreadable("a name")
        self.place += 1
        return name

    def is_name(self) -> bool:
        """Whether a name is next."""
        return self.place < len(self.items) and identifier(self.items[self.place]) is not None

    def until(self, *stops: str) -> Piece:
        """What stands before the first of these at no depth of brackets, which stays. Raises Unreadable."""
        first, depth = self.place, 0
        for place in range(first, len(self.items)):
            text = self.items[place].text
            if depth == 0 and (text in stops or (text == ":" and self.is_assignment(place) and ":=" in stops)):
                self.place = place
                return self.piece(first, place)
            if text == ";":
                break
            depth += (text in "([") - (text in ")]")
        self.place = min(first, len(self.items))
        raise self.unreadable(" or ".join(stop.upper() for stop in stops))

    def is_assignment(self, place: int) -> bool:
        """Whether the colon at this place belongs to ``:=``."""
        return place + 1 < len(self.items) and self.items[place + 1].text == "="

    def piece(self, first: int, end: int) -> Piece:
        """The SQL between two places. Raises Unreadable when there is none."""
        if end == first:
            raise self.unreadable("an expression")
        last = self.items[end - 1]
        start = self.items[first].start
        return Piece(start, self.body[start : last.start + len(last.text)])

    def label(self) -> str | None:
        """Skip ``<<label>>`` when it is next, and return its name."""
        if not self.skip("<", "<"):
            return None
        name = self.name()
        self.need(">", ">")
        return name
