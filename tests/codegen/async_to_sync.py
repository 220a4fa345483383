"""Writes the synchronous layer and its tests from the asynchronous ones: ``python -m tests.codegen.async_to_sync``.

With ``--check`` nothing is written: what would change is shown as a diff, and the exit status is 1.

Works on the tokens of the source, so that comments and docstrings stay in place; ruff then sorts the imports, drops
those that are no longer used and formats. A name that the tables below cannot convert is an error with its file and
line, never a guess. The source directories hold no code for tasks only: such a test belongs one directory up.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import keyword
import re
import subprocess
import sys
import token
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from ruff import find_ruff_bin  # type: ignore[import-untyped]

ROOT: Final = Path(__file__).resolve().parents[2]
COMMAND: Final = "python -m tests.codegen.async_to_sync"
TREES: Final = {
    "nexgent_db/aio": "nexgent_db/sync",
    "nexgent_db/testing/aio": "nexgent_db/testing/sync",
    "tests/integration/aio": "tests/integration/sync",
}
FIXES: Final = "I001,F401,RUF100,SIM117"  # sorted imports; none unused; no idle noqa; one with for two
FIRST_PARTY: Final = "lint.isort.known-first-party = ['nexgent_db', 'tests']"  # though not written yet
DIFF_LINES: Final = 60

#: Identifiers, in code as in comments and strings.
NAMES: Final = {
    # ours
    "AsyncBackground": "Background",
    "AsyncCache": "Cache",
    "AsyncDatabase": "Database",
    "AsyncNotifier": "Notifier",
    "AsyncReader": "Reader",
    "AsyncTimedLock": "TimedLock",
    "AsyncTransaction": "Transaction",
    "AsyncWaiter": "Waiter",
    "async_caller": "caller",
    "async_connection_class": "connection_class",
    "async_deadline": "deadline",
    "async_disown": "disown",
    "async_socket_timeout_s": "socket_timeout_s",
    "concurrently_async": "concurrently",
    # psycopg
    "AsyncClientCursor": "ClientCursor",
    "AsyncConnection": "Connection",
    "AsyncConnectionPool": "ConnectionPool",
    "AsyncCopy": "Copy",
    "AsyncCursor": "Cursor",
    "AsyncNullConnectionPool": "NullConnectionPool",
    "AsyncPipeline": "Pipeline",
    "AsyncRawCursor": "RawCursor",
    "AsyncRawServerCursor": "RawServerCursor",
    "AsyncServerCursor": "ServerCursor",
    # the language and its library
    "AbstractAsyncContextManager": "AbstractContextManager",
    "AsyncContextDecorator": "ContextDecorator",
    "AsyncContextManager": "ContextManager",
    "AsyncExitStack": "ExitStack",
    "AsyncGenerator": "Generator",
    "AsyncIterable": "Iterable",
    "AsyncIterator": "Iterator",
    "AsyncMock": "Mock",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "aclosing": "closing",
    "aiter": "iter",
    "anext": "next",
    "asynccontextmanager": "contextmanager",
    "enter_async_context": "enter_context",
    "push_async_callback": "callback",
    "push_async_exit": "push",
}

#: Dotted names, in code as in comments and strings. ``import asyncio`` gives way to the modules named on the right.
DOTTED: Final = {
    "asyncio.Event": "threading.Event",
    "asyncio.Lock": "threading.Lock",
    "asyncio.Semaphore": "threading.Semaphore",
    "asyncio.current_task": "threading.get_ident",
    "asyncio.sleep": "time.sleep",
    "nexgent_db.aio": "nexgent_db.sync",
    "nexgent_db.testing.aio": "nexgent_db.testing.sync",
    "pytest_asyncio.fixture": "pytest.fixture",
    "redis.asyncio": "redis",
    "tests.integration.aio": "tests.integration.sync",
    "waiting.wait_async": "waiting.wait",
}

#: Words of comments and strings.
WORDS: Final = {
    "an asynchronous": "a synchronous",
    "An asynchronous": "A synchronous",
    "asynchronous": "synchronous",
    "Asynchronous": "Synchronous",
    "asynchronously": "synchronously",
    "task": "thread",
    "tasks": "threads",
}

#: Generic types that stand for their last argument.
_UNWRAPPED: Final = ("Awaitable", "Coroutine")
_GONE_MODULES: Final = ("asyncio", "pytest_asyncio")
_ASYNC_LOOKING: Final = re.compile(r"_*Async[A-Z]\w*|(\w*_)?(async|aio)(_\w*)?|__a(enter|exit|iter|next)__")


def _whole_words(table: Mapping[str, str]) -> re.Pattern[str]:
    words = sorted(table, key=len, reverse=True)
    return re.compile(r"(?<!\w)(" + "|".join(re.escape(word) for word in words) + r")(?!\w)")


_IDENTIFIERS: Final = {**NAMES, **DOTTED}
_PROSE: Final = {**_IDENTIFIERS, **WORDS}
_IDENTIFIER: Final = _whole_words(_IDENTIFIERS)
_PROSE_WORD: Final = _whole_words(_PROSE)
_SHOWN_KEYWORD: Final = re.compile(r"\basync (?=(?:def|for|with)\b)|\bawait (?=[A-Za-z_][\w.]*\()")

_STRING_STARTS: Final = tuple(
    getattr(token, name) for name in ("FSTRING_START", "TSTRING_START") if hasattr(token, name)
)
_STRING_ENDS: Final = tuple(getattr(token, name) for name in ("FSTRING_END", "TSTRING_END") if hasattr(token, name))
_OPENING: Final = ("(", "[", "{")
_CLOSING: Final = (")", "]", "}")


class CannotConvert(Exception):
    """The source has code without a synchronous form: one line for each place, ``file:line: what``."""


@dataclass
class _Token:
    """A token and the blanks before it. Its text is changed in place, and becomes empty when the token is dropped."""

    kind: int
    text: str
    gap: str
    line: int
    was: str = field(init=False)

    def __post_init__(self) -> None:
        self.was = self.text

    def drop(self) -> None:
        self.text = ""


def _tokens(source: str, name: str) -> list[_Token]:
    """The tokens of the source, each f-string as one, with the blanks between them."""
    starts = [0]
    for line in io.StringIO(source):
        starts.append(starts[-1] + len(line))
    found: list[_Token] = []
    end = 0
    depth = 0
    string_start = (0, 0)
    try:
        for item in tokenize.generate_tokens(io.StringIO(source).readline):
            kind, start = item.type, item.start
            if kind in _STRING_STARTS:  # Python 3.12 and later take f-strings apart
                string_start = start if depth == 0 else string_start
                depth += 1
                continue
            if kind in _STRING_ENDS:
                depth -= 1
                kind, start = tokenize.STRING, string_start
            if depth or kind in (tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
                continue
            first, last = starts[start[0] - 1] + start[1], starts[item.end[0] - 1] + item.end[1]
            found.append(_Token(kind, source[first:last], source[end:first], start[0]))
            end = last
    except (tokenize.TokenError, SyntaxError) as error:
        raise CannotConvert(f"{name}: {error}") from error
    return found


def convert(source: str, name: str = "<source>") -> str:
    """The synchronous twin of a source text, not yet tidied. Raises CannotConvert, all places at once."""
    return _Conversion(source, name).run()


class _Conversion:
    """One source text on its way."""

    def __init__(self, source: str, name: str) -> None:
        self._name = name
        self._tokens = _tokens(source, name)
        self._problems: list[str] = []
        self._modules: set[str] = set()  # what must be imported in the place of asyncio

    def run(self) -> str:
        imports = list(self._import_statements())
        imported = {place for statement in imports for place in statement}
        for place, found in enumerate(self._tokens):
            if found.kind == tokenize.COMMENT:
                found.text = _prose(found.text)
            elif found.kind == tokenize.STRING:
                found.text = self._string(found)
            elif found.kind == tokenize.NAME and found.text:
                self._name_token(place, imported=place in imported)
        for statement in imports:
            self._import(statement)
        if self._problems:
            raise CannotConvert("\n".join(self._problems))
        return "".join(found.gap + found.text for found in self._tokens)

    def _problem(self, line: int, what: str) -> None:
        self._problems.append(f"{self._name}:{line}: {what}")

    # --- Names ----------------------------------------------------------------------------------

    def _name_token(self, place: int, *, imported: bool) -> None:
        found = self._tokens[place]
        if found.text == "async":
            if self._text(place + 1) not in ("def", "for", "with"):
                self._problem(found.line, "'async' before something else than def, for or with")
            self._drop_word(place)
        elif found.text == "await":
            self._await(place)
        elif self._text(place - 1) != "." and self._dotted(place):
            pass
        elif found.text in NAMES:
            if found.text == "AsyncGenerator" and self._text(place + 1) == "[":
                self._generator(place)
            found.text = NAMES[found.text]
        elif found.text in _UNWRAPPED and not imported:
            self._unwrap(place)
        elif found.text in _GONE_MODULES:
            if not imported:
                self._problem(found.line, f"no synchronous form of {self._whole_name(place)} is known")
        elif _ASYNC_LOOKING.fullmatch(found.text):
            self._problem(found.line, f"no synchronous form of {self._whole_name(place)} is known")

    def _dotted(self, place: int) -> bool:
        for size in (3, 2):
            name = "".join(self._text(at) for at in range(place, place + 2 * size - 1))
            if name in DOTTED and name.count(".") == size - 1:
                self._tokens[place].text = DOTTED[name]
                for at in range(place + 1, place + 2 * size - 1):
                    self._tokens[at].drop()
                if name.startswith("asyncio."):
                    self._modules.add(DOTTED[name].partition(".")[0])
                return True
        return False

    def _whole_name(self, place: int) -> str:
        end = place + 1
        while self._text(end) == "." and self._kind(end + 1) == tokenize.NAME:
            end += 2
        return "".join(self._text(at) for at in range(place, end))

    def _await(self, place: int) -> None:
        """Drop the word, and the parentheses that were there for its sake: ``(await f()).g`` becomes ``f().g``."""
        before = self._tokens[place - 2] if place > 1 else None
        grouping = self._text(place - 1) == "(" and (
            before is None
            or keyword.iskeyword(before.was)
            or (before.kind not in (tokenize.NAME, tokenize.STRING) and before.text not in _CLOSING)
        )
        if grouping:
            end = self._closing(place - 1)
            if self._is_primary(place + 1, end):
                self._tokens[place - 1].drop()
                self._tokens[end].drop()
        self._drop_word(place)

    def _drop_word(self, place: int) -> None:
        self._tokens[place].drop()
        if self._tokens[place + 1].gap.isspace():
            self._tokens[place + 1].gap = ""

    def _is_primary(self, start: int, end: int) -> bool:
        """Whether the tokens are a name or group with attributes, calls and subscripts, and no break between them."""
        if self._text(start) == "(":
            place = self._closing(start) + 1
        elif self._kind(start) == tokenize.NAME and not keyword.iskeyword(self._text(start)):
            place = start + 1
        else:
            return False
        while place < end:
            if self._text(place) == "." and self._kind(place + 1) == tokenize.NAME:
                place += 2
            elif self._text(place) in ("(", "["):
                place = self._closing(place) + 1
            else:
                return False
        return True

    # --- Types ----------------------------------------------------------------------------------

    def _generator(self, place: int) -> None:
        """``AsyncGenerator[Y, S]`` returns nothing, as its twin must say: ``Generator[Y, S, None]``."""
        missing = ", ".join(["None"] * (3 - len(self._arguments(place + 1))))
        end = self._closing(place + 1)
        trailing = [at for at in self._directly_in(place + 1) if self._kind(at) != tokenize.NL][-1]
        self._tokens[end].gap = (missing if self._text(trailing) == "," else f", {missing}") + self._tokens[end].gap

    def _unwrap(self, place: int) -> None:
        """``Awaitable[X]`` becomes ``X``."""
        found = self._tokens[place]
        if self._text(place + 1) != "[":
            self._problem(found.line, f"{found.text} without its type: write {found.text}[...]")
            return
        end = self._closing(place + 1)
        kept = set(self._arguments(place + 1)[-1])
        directly = set(self._directly_in(place + 1))
        for at in range(place, end + 1):
            if at in kept and not (at in directly and self._kind(at) == tokenize.NL):
                continue
            if self._kind(at) == tokenize.COMMENT:
                self._problem(self._tokens[at].line, f"a comment inside {found.was}[...]")
            self._tokens[at].drop()
            if at > place:
                self._tokens[at].gap = ""
        first = next(at for at in range(place, end) if self._tokens[at].text)
        if first != place:
            self._tokens[first].gap = ""

    def _directly_in(self, opening: int) -> Iterator[int]:
        """The tokens inside a bracket but not inside one that it holds; those brackets themselves included."""
        place, end = opening + 1, self._closing(opening)
        while place < end:
            yield place
            if self._text(place) in _OPENING:
                place = self._closing(place)
                yield place
            place += 1

    def _arguments(self, opening: int) -> list[list[int]]:
        """The tokens of each argument between brackets, without those that only lay it out."""
        end = self._closing(opening)
        commas = [place for place in self._directly_in(opening) if self._text(place) == ","]
        limits = [opening, *commas, end]
        between = [range(start + 1, stop) for start, stop in pairwise(limits)]
        layout = (tokenize.NL, tokenize.COMMENT)
        arguments = [[place for place in places if self._kind(place) not in layout] for places in between]
        return [places for places in arguments if places]

    # --- Imports --------------------------------------------------------------------------------

    def _import_statements(self) -> Iterator[list[int]]:
        """The places of the tokens of each import statement."""
        statement: list[int] = []
        fresh = True
        for place, found in enumerate(self._tokens):
            if fresh and found.kind not in (tokenize.NL, tokenize.COMMENT):
                fresh = False
                if found.text in ("import", "from"):
                    statement = [place]
                    continue
            if statement and found.kind != tokenize.NEWLINE:
                statement.append(place)
            if found.kind == tokenize.NEWLINE:
                if statement:
                    yield statement
                statement, fresh = [], True

    def _import(self, statement: Sequence[int]) -> None:
        words = [self._text(place) for place in statement if self._kind(place) != tokenize.COMMENT]
        gone = next((module for module in _GONE_MODULES if module in words), None)
        if gone is None:
            return
        first = self._tokens[statement[0]]
        if words != ["import", gone]:
            self._problem(first.line, f"only 'import {gone}' can be converted, not '{' '.join(words)}'")
            return
        modules = sorted(self._modules) if gone == "asyncio" else ["pytest"]
        first.text = f"\n{first.gap}".join(f"import {module}" for module in modules)
        for place in statement[1:]:
            self._tokens[place].drop()
            self._tokens[place].gap = ""

    # --- Strings --------------------------------------------------------------------------------

    def _string(self, found: _Token) -> str:
        prefix = re.match(r"\w*", found.text)
        if prefix is None or not set("fFtT").intersection(prefix[0]):
            return _prose(found.text)
        self._check_fields(found)
        return "".join(
            _IDENTIFIER.sub(lambda match: self._replacement(match[1]), part) if is_field else _prose(part)
            for is_field, part in _fields(found.text)
        )

    def _replacement(self, name: str) -> str:
        if name.startswith("asyncio."):
            self._modules.add(DOTTED[name].partition(".")[0])
        return _IDENTIFIERS[name]

    def _check_fields(self, found: _Token) -> None:
        """What stands in the braces of an f-string is converted name by name, so it must be simple."""
        for node in ast.walk(ast.parse(found.text, mode="eval")):
            match node:
                case ast.Await() | ast.comprehension(is_async=1):
                    self._problem(found.line, "await inside an f-string: give the value a name first")
                case ast.Attribute(value=ast.Name(id="asyncio"), attr=attr) if f"asyncio.{attr}" not in DOTTED:
                    self._problem(found.line, f"no synchronous form of asyncio.{attr} is known")
                case ast.Name(id=name) if name not in NAMES and _ASYNC_LOOKING.fullmatch(name):
                    self._problem(found.line, f"no synchronous form of {name} is known")
                case _:
                    pass

    # --- The tokens around ------------------------------------------------------------------------

    def _text(self, place: int) -> str:
        return self._tokens[place].text if 0 <= place < len(self._tokens) else ""

    def _kind(self, place: int) -> int:
        return self._tokens[place].kind if 0 <= place < len(self._tokens) else tokenize.ENDMARKER

    def _closing(self, opening: int) -> int:
        """The place of the bracket that closes this one."""
        depth = 0
        for place in range(opening, len(self._tokens)):
            if self._kind(place) != tokenize.OP:
                continue
            if self._text(place) in _OPENING:
                depth += 1
            elif self._text(place) in _CLOSING:
                depth -= 1
                if depth == 0:
                    return place
        raise CannotConvert(f"{self._name}:{self._tokens[opening].line}: a bracket is never closed")


def _prose(text: str) -> str:
    """A comment or string with its identifiers and words converted, and the code that it shows."""
    return _PROSE_WORD.sub(lambda match: _PROSE[match[1]], _SHOWN_KEYWORD.sub("", text))


def _fields(text: str) -> Iterator[tuple[bool, str]]:
    """An f-string cut into its literal parts (False) and its fields with their braces (True)."""
    start = place = depth = 0
    while place < len(text):
        char = text[place]
        if depth == 0 and text[place : place + 2] == "{{":
            place += 1
        elif char == "{":
            if depth == 0:
                yield False, text[start:place]
                start = place
            depth += 1
        elif char == "}" and depth:
            depth -= 1
            if depth == 0:
                yield True, text[start : place + 1]
                start = place + 1
        place += 1
    yield False, text[start:]


# --- Files ----------------------------------------------------------------------------------------


def header(source_name: str) -> str:
    """The first line of what is generated from this source."""
    return f"# Generated from {source_name} by `make sync`: do not edit.\n"


def tidy(text: str, name: str, root: Path = ROOT) -> str:
    """The text as ruff formats the file of this name: imports sorted, without unused ones."""
    checked = _ruff(
        text, name, root, "check", "--fix", "--silent", "--exit-zero", "--fixable", FIXES, "--config", FIRST_PARTY
    )
    return _ruff(checked, name, root, "format", "--silent")


def _ruff(text: str, name: str, root: Path, *arguments: str) -> str:
    command = [find_ruff_bin(), *arguments, "--no-cache", "--stdin-filename", name, "-"]
    run = subprocess.run(command, cwd=root, input=text, capture_output=True, encoding="utf-8", check=False)
    if run.returncode:
        raise CannotConvert(f"{name}: ruff {arguments[0]} failed on the generated text: {run.stderr.strip()}")
    return run.stdout


def expected(root: Path = ROOT, trees: Mapping[str, str] = TREES) -> dict[str, str]:
    """Every generated file's name and text. Raises CannotConvert, for all sources at once."""
    texts: dict[str, str] = {}
    problems: list[str] = []
    for source_tree, target_tree in trees.items():
        for path in sorted((root / source_tree).rglob("*.py")):
            source_name = path.relative_to(root).as_posix()
            name = target_tree + source_name.removeprefix(source_tree)
            try:
                text = convert(path.read_text(encoding="utf-8"), source_name)
                texts[name] = tidy(header(source_name) + text, name, root)
            except CannotConvert as error:
                problems.append(str(error))
    if problems:
        raise CannotConvert("\n".join(problems))
    return texts


def present(root: Path = ROOT, trees: Mapping[str, str] = TREES) -> dict[str, str]:
    """Every file in the generated directories and its text."""
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for tree in trees.values()
        for path in sorted((root / tree).rglob("*.py"))
    }


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """The lines of a unified diff from the present files to the expected ones; empty when all are up to date."""
    lines: list[str] = []
    for name in sorted(wanted.keys() | found.keys()):
        old, new = found.get(name), wanted.get(name)
        if old == new:
            continue
        lines += difflib.unified_diff(
            (old or "").splitlines(),
            (new or "").splitlines(),
            f"{name} (missing)" if old is None else name,
            f"{name} (has no source)" if new is None else f"{name} (fresh)",
            lineterm="",
            n=1,
        )
        if not old and not new:  # an empty file that is missing or too many
            lines.append(f"{name}: {'missing' if old is None else 'has no source'}")
    return lines


def write(wanted: Mapping[str, str], root: Path = ROOT, trees: Mapping[str, str] = TREES) -> list[str]:
    """Write what differs, delete what has no source any more; return the names.

    Raises CannotConvert, and deletes nothing, when one of those was written by hand.
    """
    found = present(root, trees)
    orphans = sorted(found.keys() - wanted.keys())
    if by_hand := [name for name in orphans if not found[name].startswith("# Generated from ")]:
        raise CannotConvert(f"{', '.join(by_hand)}: not generated, and in a directory of generated files")
    changed = sorted(name for name, text in wanted.items() if found.get(name) != text)
    for name in changed:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(wanted[name], encoding="utf-8", newline="\n")
    for name in orphans:
        (root / name).unlink()
    return changed + orphans


def main(arguments: Sequence[str] | None = None, root: Path = ROOT, trees: Mapping[str, str] = TREES) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something is stale")
    options = parser.parse_args(arguments)
    try:
        wanted = expected(root, trees)
        if not options.check:
            for name in write(wanted, root, trees):
                print(name)
            return 0
    except CannotConvert as error:
        print(error, file=sys.stderr)
        return 1
    lines = differences(wanted, present(root, trees))
    if lines:
        print("\n".join(lines[:DIFF_LINES]))
        if len(lines) > DIFF_LINES:
            print(f"... and {len(lines) - DIFF_LINES} lines more")
        print(f"stale: run {COMMAND}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
