"""The table of all error classes in the documentation, from their docstrings and from the tables of SQLSTATEs.

``python -m tests.codegen.error_table`` writes it between the markers of the page; ``--check`` only compares.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from nexgent_db import errors
from nexgent_db.errors import NexgentError
from nexgent_db.errors.translation import BAD_VALUES, BY_CLASS, BY_CONSTRAINT, BY_STATE, VIOLATIONS

PAGE: Final = Path(__file__).parents[2] / "docs" / "pages" / "reference" / "errors.md"
BEGIN: Final = "<!-- error table: written by make errors -->\n"
END: Final = "<!-- end of the error table -->\n"

ADVICE: Final = re.compile(
    r"(?P<changed>Nothing was changed|[^.]*\bmay have taken effect|[^.]*\bwas committed)(?P<where>[^.]*)\. "
    r"(?P<action>(Retry at once|Retry later|Repair|Never retry)\b.*)"
)
"""The last paragraph of a docstring: whether anything was changed, and what to do."""

_CHOSEN_BY_MORE: Final = {  # than the SQLSTATE; translate() says by what
    errors.InvalidInput: sorted(BAD_VALUES),
    errors.ReadOnlyBlock: ["25006"],
    errors.SchemaChanged: ["0A000"],
    errors.StatementTimeout: ["57014"],
}


_HEAD: Final = (
    "| error | subclass of | code | HTTP | SQLSTATE | raised when | changed | what to do |",
    "|---|---|---|---|---|---|---|---|",
)


FAMILIES: Final = ("base", "configuration", "database", "answers", "cache", "usage", "constraints", "trades")
"""The modules of ``nexgent_db.errors``, in the order of the page."""


class Row(NamedTuple):
    """The table's row of one class."""

    kind: type[NexgentError]
    sqlstates: list[str]
    raised: str
    changed: str
    action: str


def kinds() -> list[type[NexgentError]]:
    """The public error classes, family by family, in the order of the source."""
    return [kind for _, members in _families() for kind in members]


def advice_of(kind: type[NexgentError]) -> re.Match[str]:
    """The class's own advice, or the nearest base's. Raises ValueError when there is none."""
    for base in kind.__mro__:
        if issubclass(base, NexgentError) and (found := ADVICE.fullmatch(_paragraphs(base)[-1])):
            return found
    raise ValueError(f"the docstring of {kind.__name__} does not end with what was changed and what to do")


def sqlstates_of(kind: type[NexgentError]) -> list[str]:
    """The codes that make exactly this class, whole classes of codes as ``53…``."""
    tables: list[dict[str, type[errors.DatabaseError]]] = [{**BY_STATE, **VIOLATIONS}]
    tables.append({f"{state}…": made for state, made in BY_CLASS.items()})
    codes = [state for table in tables for state, made in table.items() if made is kind]
    if kind in BY_CONSTRAINT.values():
        codes.append("23505" if issubclass(kind, errors.UniqueViolation) else "23001")
    return sorted([*codes, *_CHOSEN_BY_MORE.get(kind, [])])


def row_of(kind: type[NexgentError]) -> Row:
    """The row of a class, from its docstring. Raises ValueError when the docstring lacks a part."""
    advice = advice_of(kind)
    changed = "nothing" if advice["changed"] == "Nothing was changed" else advice["changed"]
    return Row(kind, sqlstates_of(kind), _paragraphs(kind)[0], changed + advice["where"], advice["action"])


def _paragraphs(kind: type) -> list[str]:
    return [" ".join(part.split()) for part in (kind.__doc__ or "").split("\n\n")]


def table() -> str:
    """All of it, in Markdown, a section for each family."""
    lines: list[str] = []
    for title, members in _families():
        lines += [f"## {title}", "", *_HEAD]
        for kind in members:
            row = row_of(kind)
            base = "" if kind is NexgentError else _shown_base(kind)
            names = [f"`{kind.__name__}`", base, f"`{kind.code}`", str(kind.http_status)]
            cells = [*names, ", ".join(row.sqlstates), row.raised, row.changed, row.action]
            lines.append(f"| {' | '.join(cell.replace('``', '`') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines) + "\n"


def _shown_base(kind: type[NexgentError]) -> str:
    base = next(base for base in kind.__mro__[1:] if not base.__name__.startswith("_"))
    return f"`{base.__name__}`"


def _families() -> Iterator[tuple[str, list[type[NexgentError]]]]:
    """The modules of the package: what the first line of each says, up to a colon, and its public classes."""
    for name in FAMILIES:
        module = importlib.import_module(f"{errors.__name__}.{name}")
        title = (module.__doc__ or "").split("\n")[0].partition(":")[0].rstrip(".")
        public = set(module.__all__)
        yield title, [kind for name, kind in vars(module).items() if name in public]


def with_table(page: str) -> str:
    """The page with today's table between its markers. Raises ValueError for a page without them."""
    head, _, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE.name} has no {BEGIN.strip()} … {END.strip()}")
    return f"{head}{BEGIN}\n{table()}{END}{tail}"


def main() -> int:
    """Write the table, or with --check say whether it is fresh."""
    page = PAGE.read_text(encoding="utf-8")
    fresh = with_table(page)
    if "--check" not in sys.argv:
        PAGE.write_text(fresh, encoding="utf-8")
    elif fresh != page:
        print(f"{PAGE.name} is stale: make errors")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
