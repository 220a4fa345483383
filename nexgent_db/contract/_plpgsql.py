"""Reads the body of a PL/pgSQL function: its blocks, declarations and statements. Pure.

Reads what PL/pgSQL itself reads, at the places where it does: an expression ends at its keyword (THEN, LOOP) or at a
semicolon outside of brackets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from nexgent_db.contract._plpgsql_nodes import (
    Assign,
    AssignmentTarget,
    Branch,
    Case,
    Declaration,
    Exit,
    If,
    Loop,
    Other,
    Piece,
    PlpgsqlBlock,
    Raise,
    Return,
    Sql,
    Statement,
)
from nexgent_db.contract._plpgsql_words import Words, identifier

__all__ = ["read_body"]

_LEVELS: Final = frozenset(("debug", "log", "info", "notice", "warning", "exception"))
_UTILITY: Final = frozenset(("close", "commit", "move", "null", "rollback", "chain"))


def read_body(body: str) -> PlpgsqlBlock:
    """The outermost block of a function's body. Raises Unreadable."""
    reader = _Reader(body)
    label = reader.label()
    block = reader.block(label)
    reader.skip(";")
    if reader.place < len(reader.items):
        raise reader.unreadable("the end of the body")
    return block


@dataclass(slots=True)
class _LoopHead:
    """What stands before LOOP."""

    condition: Piece | None = None
    counter: str | None = None
    numbers: tuple[Piece, ...] = ()
    targets: tuple[AssignmentTarget, ...] = ()
    query: Piece | None = None
    values: tuple[Piece, ...] = ()
    endless: bool = False


class _Reader(Words):
    """Reads blocks and statements."""

    # --- Blocks ---------------------------------------------------------------------------------------

    def block(self, label: str | None) -> PlpgsqlBlock:
        start = self.start
        declarations: list[Declaration] = []
        while self.skip("declare"):
            while self.text() not in ("begin", "declare"):
                declarations.append(self.declaration())
        at = self.need("begin")
        body = self.statements("end", "exception")
        handlers: list[Branch] = []
        if self.skip("exception"):
            while self.text() == "when":
                when = self.start
                self.need("when")
                self.until("then")
                then = self.need("then")
                handlers.append(Branch(when, None, then, self.statements("end", "when")))
        self.need("end")
        if self.text() != ";" and self.is_name():
            self.name()
        return PlpgsqlBlock(start, at, tuple(declarations), body, tuple(handlers), label)

    def declaration(self) -> Declaration:
        start, name = self.start, self.name()
        if self.skip("alias", "for"):
            alias = self.name() if self.is_name() else self.until(";").text
            self.need(";")
            return Declaration(start, name, "", alias=alias)
        self.skip("constant")
        if self.text() in ("cursor", "scroll", "no"):
            while self.text() not in ("for", "is"):
                if not self.skip("("):
                    self.place += 1
                    continue
                self.until(")")
            self.place += 1
            query = self.until(";")
            self.need(";")
            return Declaration(start, name, "refcursor", cursor=query)
        type_ = self.until(";", "default", ":=", "=", "not", "collate").text
        while self.text() in ("not", "collate"):
            self.place += 2
        default = None
        if self.skip(":", "=") or self.skip("=") or self.skip("default"):
            default = self.until(";")
        self.need(";")
        return Declaration(start, name, type_, default)

    def statements(self, *ends: str) -> tuple[Statement, ...]:
        """The statements up to one of these words, which stays."""
        found: list[Statement] = []
        while self.text() not in ends or self._is_assigned():
            if self.place >= len(self.items):
                raise self.unreadable(" or ".join(end.upper() for end in ends))
            if not self.skip(";"):
                found.append(self.statement())
        return tuple(found)

    # --- Statements -----------------------------------------------------------------------------------

    def statement(self) -> Statement:
        if self._is_assigned():
            return self._assign()
        start, label, word = self.start, self.label(), self.text()
        if word in ("declare", "begin"):
            return self.block(label)
        if word in ("loop", "while", "for", "foreach"):
            return self._loop(start, label)
        if word == "if":
            return self._if()
        if word == "case":
            return self._case()
        if word == "return":
            return self._return()
        if word == "raise":
            return self._raise()
        if word in ("exit", "continue"):
            return self._exit()
        if word == "execute":
            return self._execute()
        if word in ("get", "assert", "open", "fetch") or word in _UTILITY:
            return self._other(word)
        return self._sql()

    def _is_assigned(self) -> bool:
        """Whether a variable, a field or an element follows, and then an assignment."""
        place = self.place
        if place >= len(self.items) or identifier(self.items[place]) is None:
            return False
        place += 1
        while place + 1 < len(self.items):
            text = self.items[place].text
            if text == ".":
                place += 2
            elif text == "[":
                depth = 0
                while place < len(self.items):
                    depth += (self.items[place].text == "[") - (self.items[place].text == "]")
                    place += 1
                    if depth == 0:
                        break
            else:
                return text == "=" or (text == ":" and self.is_assignment(place))
        return False

    def _target(self) -> AssignmentTarget:
        start, name = self.start, self.name()
        fields: list[str] = []
        subscripts: list[Piece] = []
        while True:
            if self.skip("."):
                fields.append(self.name())
            elif self.skip("["):
                subscripts.append(self.until("]", ":"))
                if self.skip(":"):
                    subscripts.append(self.until("]"))
                self.need("]")
            else:
                return AssignmentTarget(start, name, tuple(fields), tuple(subscripts))

    def _targets(self) -> tuple[AssignmentTarget, ...]:
        found = [self._target()]
        while self.skip(","):
            found.append(self._target())
        return tuple(found)

    def _assign(self) -> Assign:
        start, target = self.start, self._target()
        self.skip(":")
        self.need("=")
        value = self.until(";")
        self.need(";")
        return Assign(start, target, value)

    def _if(self) -> If:
        start = self.start
        branches: list[Branch] = []
        words: tuple[str, ...] = ("if",)
        while words:
            begin = self.start
            self.need(*words)
            condition = self.until("then")
            at = self.need("then")
            branches.append(Branch(begin, condition, at, self.statements("elsif", "elseif", "else", "end")))
            words = (self.text(),) if self.text() in ("elsif", "elseif") else ()
        if self.text() == "else":
            begin = self.start
            at = self.need("else")
            branches.append(Branch(begin, None, at, self.statements("end")))
        end = self.start
        self.need("end", "if", ";")
        return If(start, tuple(branches), end)

    def _case(self) -> Case:
        start = self.start
        self.need("case")
        operand = None if self.text() == "when" else self.until("when")
        branches: list[Branch] = []
        while self.text() == "when":
            begin = self.start
            self.need("when")
            condition = self.until("then")
            at = self.need("then")
            branches.append(Branch(begin, condition, at, self.statements("when", "else", "end")))
        if self.text() == "else":
            begin = self.start
            at = self.need("else")
            branches.append(Branch(begin, None, at, self.statements("end")))
        self.need("end", "case", ";")
        return Case(start, operand, tuple(branches))

    def _loop(self, start: int, label: str | None) -> Loop:
        head = _LoopHead()
        if self.skip("while"):
            head.condition = self.until("loop")
        elif self.skip("foreach"):
            head.targets = self._targets()
            if self.skip("slice"):
                self.place += 1
            self.need("in", "array")
            head.values = (self.until("loop"),)
        elif self.skip("for"):
            self._for(head)
        else:
            head.endless = True
        at = self.need("loop")
        body = self.statements("end")
        self.need("end", "loop")
        if self.text() != ";":
            self.name()
        self.need(";")
        return Loop(
            start, at, body, label, head.condition, head.counter, head.numbers, head.targets, head.query, head.values,
            head.endless,
        )  # fmt: skip

    def _for(self, head: _LoopHead) -> None:
        targets = self._targets()
        self.need("in")
        reverse = self.skip("reverse")
        if self.text() == "execute":
            self.need("execute")
            head.targets = targets
            head.values = (self.until("loop", "using"), *(self._values("loop") if self.skip("using") else ()))
            return
        first = self.place
        whole = self.until("loop")
        dots = next(self._dots(first, self.place), None)
        if dots is None and not reverse:
            head.targets, head.query = targets, whole
            return
        if dots is None:
            raise self.unreadable("two dots")
        loop = self.place
        by = next((place for place in range(dots, loop) if self.items[place].text == "by"), None)
        head.counter = targets[0].name
        head.numbers = (self.piece(first, dots), self.piece(dots + 2, by or loop))
        if by:
            head.numbers += (self.piece(by + 1, loop),)

    def _dots(self, first: int, end: int) -> Iterator[int]:
        depth = 0
        for place in range(first, end - 1):
            one, other = self.items[place], self.items[place + 1]
            depth += (one.text in "([") - (one.text in ")]")
            if depth == 0 and one.text == other.text == "." and other.start == one.start + 1:
                yield place

    def _return(self) -> Return:
        start = self.start
        self.need("return")
        kind = "return"
        if self.text() in ("next", "query"):
            kind = self.text()
            self.place += 1
        if kind == "query" and self.skip("execute"):
            values = (self.until(";", "using"), *(self._values(";") if self.skip("using") else ()))
            self.need(";")
            return Return(start, "execute", None, values)
        value = None if self.text() == ";" else self.until(";")
        self.need(";")
        return Return(start, kind, value)

    def _values(self, end: str) -> tuple[Piece, ...]:
        """Expressions with commas between them, up to ``end``, which stays."""
        found = [self.until(",", end)]
        while self.skip(","):
            found.append(self.until(",", end))
        return tuple(found)

    def _raise(self) -> Raise:
        start = self.start
        self.need("raise")
        stops = True
        if self.text() in _LEVELS:
            stops = self.text() == "exception"
            self.place += 1
        values: list[Piece] = []
        if self.text() not in (";", "using"):
            self.skip("sqlstate")
            self.place += 1  # the format, the condition or its SQLSTATE
            while self.skip(","):
                values.append(self.until(",", "using", ";"))
        if self.skip("using"):
            while self.text() != ";":
                self.name()
                self.skip(":")
                self.need("=")
                values.append(self.until(",", ";"))
                self.skip(",")
        self.need(";")
        return Raise(start, stops, tuple(values))

    def _exit(self) -> Exit:
        start, leaves = self.start, self.text() == "exit"
        self.place += 1
        label = self.name() if self.text() not in ("when", ";") else None
        condition = self.until(";") if self.skip("when") else None
        self.need(";")
        return Exit(start, leaves, label, condition)

    def _execute(self) -> Other:
        start = self.start
        self.need("execute")
        values = [self.until("into", "using", ";")]
        targets: tuple[AssignmentTarget, ...] = ()
        while not self.skip(";"):
            if self.skip("into"):
                self.skip("strict")
                targets = self._targets()
            else:
                self.need("using")
                values += [self.until(",", "into", ";")]
                while self.skip(","):
                    values += [self.until(",", "into", ";")]
        return Other(start, tuple(values), targets)

    def _other(self, word: str) -> Other:
        start = self.start
        self.place += 1
        values: tuple[Piece, ...] = ()
        targets: list[AssignmentTarget] = []
        if word == "get":
            while self.text() in ("current", "stacked", "diagnostics"):
                self.place += 1
            while self.text() != ";":
                targets.append(self._target())
                self.skip(":")
                self.need("=")
                self.name()
                self.skip(",")
        elif word == "assert":
            values = self._values(";")
        elif word == "fetch":
            self.until("into")
            self.need("into")
            targets += self._targets()
        elif word == "open":
            targets.append(self._target())
        if self.text() != ";":
            self.until(";")
        self.need(";")
        return Other(start, values, tuple(targets))

    def _sql(self) -> Sql:
        start, first = self.start, self.place
        if not self.is_name() and self.text() != "(":
            raise self.unreadable("a statement")
        whole = self.until(";")
        end, text = self.place, whole.text
        self.need(";")
        discards = self.items[first].text == "perform"
        if discards:
            text = f"SELECT {text[len('perform') :]}"
        into = next(
            (
                place
                for place in range(first + 1, end)
                if self.items[place].text == "into" and self.items[place - 1].text not in ("insert", "merge")
            ),
            None,
        )
        targets = None
        if into is not None:
            self.place = into + 1
            if self.text(1) != "." or self.text() == "strict":
                self.skip("strict")
            targets = self._targets()
            last = self.items[self.place - 1]
            begin, stop = self.items[into].start - start, last.start + len(last.text) - start
            blank = "".join("\n" if character == "\n" else " " for character in text[begin:stop])
            text = text[:begin] + blank + text[stop:]
            self.place = end + 1
        return Sql(start, Piece(start, text), targets, discards)
