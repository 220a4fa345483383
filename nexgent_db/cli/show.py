"""Formats figures, names and tables: exact, without exponents, never truncated."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from nexgent_db._text import plain, visible

__all__ = ["one_line", "progress_bar", "show_table", "show_whole", "visible_lines"]

_WIDEST = 10_000


def one_line(text: str) -> str:
    """The text on one line, whatever shows no character escaped."""
    return visible(" ".join(text.split()))


def visible_lines(text: str) -> str:
    """The text on the same lines, whatever shows no character escaped."""
    return "\n".join(visible(line.expandtabs()) for line in text.splitlines())


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | int | Decimal]]) -> None:
    """Print a table to stdout: numbers right-aligned, nothing truncated even when the terminal is too narrow."""
    table = Table(title=Text(title, style="bold"), title_justify="left")
    cells = [list(row) for row in rows]
    for place, name in enumerate(columns):
        right = bool(cells) and all(isinstance(row[place], int | Decimal) for row in cells)
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for row in cells:
        table.add_row(*(Text(plain(cell) if isinstance(cell, Decimal) else visible(str(cell))) for cell in row))
    show_whole(table)


def show_whole(shown: Table | Tree) -> None:
    """Print to stdout and let the terminal wrap long lines: nothing is truncated."""
    console = Console(file=sys.stdout, highlight=False)
    wide = console.options.update(max_width=_WIDEST)
    needed = Measurement.get(console, wide, shown).maximum
    console.width = max(console.width, needed)
    console.print(shown)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, if that is a terminal; it disappears when the work is done."""
    with Progress(
        TextColumn(what),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr, stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task(what)
        yield lambda done, total: progress.update(task, completed=done, total=total)
