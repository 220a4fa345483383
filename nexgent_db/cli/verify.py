"""``verify``: the rules of sql/checks.sql on a database in use, range by range of its agents, in one snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from nexgent_db._text import plain
from nexgent_db.cli import target
from nexgent_db.cli.machine import Json, reporting
from nexgent_db.cli.show import one_line
from nexgent_db.cli.target import DatabaseUrl
from nexgent_db.errors import InvalidInput
from nexgent_db.migrations import Cells
from nexgent_db.queries.sqlfile import load_file
from nexgent_db.queries.statement import Query
from nexgent_db.resources import data_dir
from nexgent_db.sync.database import Database
from nexgent_db.sync.doctor import DoctorQueries
from nexgent_db.sync.transaction import Transaction

__all__ = ["register"]

_FIRST: Final = UUID(int=0)
_LAST: Final = UUID(int=2**128 - 1)
_ROWS: Final = 100
"""The LIMIT of each rule in sql/checks.sql."""
_STATEMENT_S: Final = 3600.0
_SET: Final = """
SELECT
    set_config('nexgent.first_agent', :first, true) AS first,
    set_config('nexgent.last_agent', :last, true) AS last
"""


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command()(verify)


@dataclass
class _Progress:
    """What was checked, and the rows that break a rule: all are counted, ``limit`` are kept."""

    limit: int
    as_json: bool
    agents: int = 0
    checked_to: UUID | None = None
    broken: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    cut_off: bool = False

    def add(self, rule: str, found: list[dict[str, object]], cell: str | None) -> None:
        if not found:
            return
        self.broken[rule] = self.broken.get(rule, 0) + len(found)
        self.cut_off = self.cut_off or len(found) >= _ROWS
        for row in found:
            if sum(self.broken.values()) > self.limit and len(self.rows) >= self.limit:
                return
            shown = {name: _shown(value) for name, value in row.items()}
            self.rows.append({"rule": rule, **({} if cell is None else {"cell": cell}), **shown})
            if not self.as_json:
                parts = (f"{name} {value}" for name, value in self.rows[-1].items() if name != "rule")
                typer.echo(one_line(f"{rule}: {', '.join(parts)}"))


def verify(
    from_: Annotated[
        UUID | None,
        typer.Option("--from", metavar="AGENT", help="Continue after this agent, as an interrupted run printed."),
    ] = None,
    agents: Annotated[int, typer.Option(min=1, max=100_000, help="How many agents one query checks.")] = 500,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0, metavar="SECONDS", help="Stop after this time, and print the place.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, max=100_000, help="How many rows to list; all are counted.")] = 1000,
    cells: Annotated[bool, typer.Option("--cells", help="Check every cell, each in a snapshot of its own.")] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Check that the ledger and what it adds up to agree: every rule of sql/checks.sql, on a database in use.

    Reads one snapshot (REPEATABLE READ, READ ONLY) range by range of the agents, and locks nothing; trades go on. Rows
    that break a rule are printed with their keys. Exit code 0: none does; 1: some do; 2: it was ended by --for, and
    none does so far. What the database holds back for the snapshot grows with the time: use --for and --from on a large
    one. Each part is then right by itself, since no rule is about several agents.
    """
    if cells and from_ is not None:
        raise InvalidInput("from", "goes with one schema: name the cell in DATABASE_URL (?schema=), without --cells")
    progress = _Progress(limit, as_json)
    until = None if seconds is None else time.monotonic() + seconds
    finished = False
    document: dict[str, Any] = {}
    try:
        with reporting(document, as_json):
            try:
                with target.opened(database_url) as where, Database(where.without_cache) as db:
                    finished = all(
                        _check(part, progress, from_ or _FIRST, agents, until, cell)
                        for cell, part in _parts(db, where.settings.conninfo, cells=cells)
                    )
            finally:
                document |= {"agents": progress.agents, "broken": progress.broken, "rows": progress.rows}
                document["continue_from"] = None if finished else str(progress.checked_to or from_ or "") or None
    except BaseException:
        _print_place(progress)
        raise
    if not as_json:
        _print_result(progress)
    if not finished:
        _print_place(progress)
    if progress.broken:
        raise typer.Exit(1)
    if not finished:
        raise typer.Exit(2)


def _parts(db: Database, conninfo: str, *, cells: bool) -> Iterator[tuple[str | None, Database]]:
    """The schema of the database; with ``cells`` each of these as well, if they are others."""
    yield None, db
    if cells:
        for name in Cells(conninfo).names():
            yield name, db.for_schema(name)


def _check(db: Database, progress: _Progress, after: UUID, count: int, until: float | None, cell: str | None) -> bool:
    """Check all agents after this one in one snapshot. False when the time is over before the end."""
    rules = load_file(data_dir("sql") / "checks.sql").queries
    with db.transaction(isolation="repeatable read", read_only=True, statement_timeout_s=_STATEMENT_S) as tx:
        queries = tx.use(DoctorQueries)
        while True:
            if _is_over(until):
                return False
            some = queries.find_agents_after(after, count)
            # After the last agent come rows whose agent is missing.
            _check_range(tx, rules, progress, after, _LAST if some is None else some.last, cell)
            if some is None:
                return True
            after = progress.checked_to = some.last
            progress.agents += some.agents


def _is_over(until: float | None) -> bool:
    return until is not None and time.monotonic() >= until


def _check_range(
    tx: Transaction, rules: Mapping[str, Query], progress: _Progress, after: UUID, last: UUID, cell: str | None
) -> None:
    first = after if after == _FIRST else UUID(int=min(after.int + 1, _LAST.int))
    tx.execute(_SET, {"first": str(first), "last": str(last)}, name="verify_range")
    for name, query in rules.items():
        text = query.statement(()).text.partition("\n")[2]  # without its name line
        progress.add(name, tx.execute(text, name=f"verify_{name}").rows, cell)


def _shown(value: object) -> str | None:
    return None if value is None else plain(value) if isinstance(value, Decimal) else str(value)


def _print_result(progress: _Progress) -> None:
    if not progress.broken:
        typer.echo(f"{progress.agents} agents checked: no row breaks a rule")
        return
    more = " or more" if progress.cut_off else ""
    counts = ", ".join(f"{count}{more} {rule}" for rule, count in progress.broken.items())
    typer.echo(f"{progress.agents} agents checked: {counts}")


def _print_place(progress: _Progress) -> None:
    if progress.checked_to is not None:
        typer.echo(f"checked to agent {progress.checked_to}: continue with --from {progress.checked_to}", err=True)
