"""The objects that a migration creates, changes, drops or writes to, read from its text.

Text in dollar quotes, such as the body of a DO, is read as well; a statement that a function puts together is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from nexgent_db.migrations.files import Migration, MigrationScript
from nexgent_db.queries.lexer import Lexeme, lexemes

__all__ = ["Touched", "created", "touched"]

Verb = Literal["creates", "changes", "drops", "changes the type of", "writes to"]


class Touched(NamedTuple):
    """One object that a statement is about. ``column`` is the column or constraint a table, if it is about one."""

    verb: Verb
    kind: str
    name: str
    column: str | None
    offset: int

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}{'.' + self.column if self.column else ''}"


def touched(script: MigrationScript) -> Iterator[Touched]:
    """What the file touches, in order."""
    return _touched(script.text, 0)


def created(migrations: Iterable[Migration]) -> frozenset[tuple[str, str]]:
    """Kind and name of everything that these migrations create, renamed or dropped since or not."""
    return frozenset((each.kind, each.name) for m in migrations for each in touched(m.up) if each.verb == "creates")


_KINDS: Final = {
    "table": "table", "view": "view", "function": "function", "procedure": "function", "routine": "function",
    "type": "type", "domain": "type", "sequence": "sequence", "index": "index", "trigger": "trigger",
    "policy": "policy", "rule": "rule",
}  # fmt: skip
_OF_TABLES: Final = {"trigger", "policy", "rule"}
_ADJECTIVES: Final = {"or", "replace", "unlogged", "materialized", "recursive", "unique", "constraint", "foreign"}
_NOISE: Final = {"concurrently", "if", "not", "exists", "only"}


def _touched(text: str, shift: int) -> Iterator[Touched]:
    statement = list[Lexeme]()
    for lexeme in lexemes(text):
        if lexeme.kind == "dollar":
            opening = lexeme.text.index("$", 1) + 1
            yield from _touched(lexeme.text[opening:-opening], shift + lexeme.start + opening)
        elif lexeme.kind == "other" and lexeme.text == ";":
            yield from _of_statement(statement, shift)
            statement = []
        else:
            statement.append(lexeme)
    yield from _of_statement(statement, shift)


def _of_statement(statement: Sequence[Lexeme], shift: int) -> Iterator[Touched]:
    reader = _Reader(statement)
    for at, lexeme in enumerate(statement):
        if lexeme.kind == "word" and (read := _READERS.get(lexeme.text)) is not None:
            for found in read(reader, at):
                yield found._replace(offset=shift + lexeme.start)


class _Reader:
    """Reads one statement from the place of its verb on."""

    def __init__(self, statement: Sequence[Lexeme]) -> None:
        self._pieces = statement

    def word(self, at: int) -> str:
        """The word at this place; empty for anything else."""
        return self._pieces[at].text if at < len(self._pieces) and self._pieces[at].kind == "word" else ""

    def name(self, at: int) -> tuple[str, int]:
        """The name at this place, without its schema, and the place behind it; empty when there is none."""
        while self.word(at) in _NOISE:
            at += 1
        name = ""
        while at < len(self._pieces) and (piece := self._pieces[at]).kind in ("word", "quoted"):
            name = piece.text[1:-1].replace('""', '"') if piece.text.startswith('"') else piece.text
            at += 1
            if not self.sign(at, "."):
                break
            at += 1
        return name, at

    def sign(self, at: int, text: str) -> bool:
        return at < len(self._pieces) and self._pieces[at].kind == "other" and self._pieces[at].text == text

    def behind(self, at: int, word: str) -> int:
        """The place behind the next ``word``; the end when it does not come."""
        places = range(at, len(self._pieces))
        return next((place + 1 for place in places if self.word(place) == word), len(self._pieces))

    def create(self, at: int) -> Iterator[Touched]:
        at += 1
        while self.word(at) in _ADJECTIVES:
            at += 1
        if (kind := _KINDS.get(self.word(at))) is None:  # a temporary table is no object of the schema
            return
        name, after = self.name(at + 1)
        yield Touched("creates", kind, name, None, 0)
        if kind in _OF_TABLES:
            table, _ = self.name(self.behind(after, "to" if kind == "rule" else "on"))
            yield Touched("changes", "table", table, None, 0)

    def alter(self, at: int) -> Iterator[Touched]:
        if (kind := _KINDS.get(self.word(at + 1))) is None:
            return
        name, after = self.name(at + 2)
        if kind in _OF_TABLES:
            kind, (name, _) = "table", self.name(self.behind(after, "on"))
        if kind != "table":
            yield Touched("changes", kind, name, None, 0)
            return
        for action in self._actions(after):
            yield self._action(name, action)

    def _actions(self, at: int) -> Iterator[int]:
        yield at
        depth = 0
        for place in range(at, len(self._pieces)):
            depth += self.sign(place, "(") - self.sign(place, ")")
            if depth == 0 and self.sign(place, ","):
                yield place + 1

    def _action(self, table: str, at: int) -> Touched:
        verb, what = self.word(at), self.word(at + 1)
        column, after = self.name(at + 2 if what in ("column", "constraint") else at + 1)
        if verb == "drop":
            return Touched("drops", "constraint" if what == "constraint" else "column", table, column, 0)
        retyped = self.word(after) == "type" or (self.word(after), self.word(after + 2)) == ("set", "type")
        if verb == "alter" and retyped:
            return Touched("changes the type of", "column", table, column, 0)
        return Touched("changes", "table", table, None, 0)

    def drop(self, at: int) -> Iterator[Touched]:
        at += 1
        if self.word(at) in ("materialized", "foreign"):
            at += 1
        if (kind := _KINDS.get(self.word(at))) is None:
            return
        name, after = self.name(at + 1)
        if kind in _OF_TABLES:
            table, _ = self.name(self.behind(after, "on"))
            yield Touched("changes", "table", table, None, 0)
            return
        yield Touched("drops", kind, name, None, 0)
        while after < len(self._pieces):
            if self.sign(after, "("):  # the arguments of a function
                after = next((p + 1 for p in range(after, len(self._pieces)) if self.sign(p, ")")), len(self._pieces))
            elif self.sign(after, ","):
                name, after = self.name(after + 1)
                yield Touched("drops", kind, name, None, 0)
            else:
                return

    def truncate(self, at: int) -> Iterator[Touched]:
        if self.word(at - 1) in ("before", "after", "or", "on"):  # an event of a trigger
            return
        name, after = self.name(at + 2 if self.word(at + 1) == "table" else at + 1)
        yield Touched("writes to", "table", name, None, 0)
        while self.sign(after, ","):
            name, after = self.name(after + 1)
            yield Touched("writes to", "table", name, None, 0)

    def write(self, at: int) -> Iterator[Touched]:
        behind = {"insert": "into", "merge": "into", "delete": "from"}[self.word(at)]
        if self.word(at + 1) == behind:
            yield Touched("writes to", "table", self.name(at + 2)[0], None, 0)

    def update(self, at: int) -> Iterator[Touched]:
        if self.word(at - 1) in ("on", "for", "or", "before", "after", "do", "no"):  # ON UPDATE, FOR UPDATE, an event
            return
        name, after = self.name(at + 1)
        if name and "set" in (self.word(after), self.word(after + 1), self.word(after + 2)):
            yield Touched("writes to", "table", name, None, 0)


_READERS: Final = {
    "create": _Reader.create,
    "alter": _Reader.alter,
    "drop": _Reader.drop,
    "truncate": _Reader.truncate,
    "insert": _Reader.write,
    "merge": _Reader.write,
    "delete": _Reader.write,
    "update": _Reader.update,
}
