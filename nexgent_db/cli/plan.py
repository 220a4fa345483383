"""``plan``: the SQL that ``migrate`` would send, and the lock report."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nexgent_db.cli import target
from nexgent_db.cli.machine import Json, print_json
from nexgent_db.cli.schema import Scratch, empty_database
from nexgent_db.cli.show import one_line, show_table
from nexgent_db.cli.target import DatabaseUrl
from nexgent_db.migrations import LockReport, PlannedMigration, TableLock

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command()(plan)


def plan(
    to: Annotated[str | None, typer.Option(metavar="ID", help="The last migration to plan; all by default.")] = None,
    locks: Annotated[
        bool,
        typer.Option("--locks", help="Run each migration on an empty copy, and report its table locks."),
    ] = False,
    scratch: Scratch = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Print exactly the SQL that migrate would send, with its timeouts. Writes nothing.

    A migration that drops or changes what an object of others depends on, such as a service's view, says so: PostgreSQL
    will refuse it.
    With --locks, print the lock report instead: the tables that each migration locks, and whether reads or trades wait,
    as observed on a copy of the schema without rows. A lock is held until its migration ends.
    """
    with target.opened(database_url) as database:
        migrator = target.migrator(database.settings.conninfo)
        planned = migrator.plan(to)
        reports = list[LockReport]()
        if locks and planned:
            with empty_database(scratch) as copy:
                reports = migrator.lock_report(copy, to)
    if as_json:
        print_json({"migrations": [_as_object(each, reports) for each in planned]})
    elif not planned:
        typer.echo("-- nothing to do")
    elif locks:
        _show_locks(reports)
        for each in planned:
            for text in each.breaks:
                typer.echo(f"{each.name} breaks: {one_line(text)}")
    else:
        for number, each in enumerate(planned, start=1):
            typer.echo(f"-- [{number}/{len(planned)}] {each.name}: {_how(each)}")
            for text in each.breaks:
                typer.echo(f"-- breaks: {one_line(text)}")
            typer.echo(each.sql if each.sql.endswith("\n") else f"{each.sql}\n")


def _how(planned: PlannedMigration) -> str:
    """The way in which the migration is sent, as a comment of one line."""
    sent = "one transaction" if planned.transactional else "outside of a transaction"
    first = ["also sent before all others, read only"] if planned.preflight else []
    return ", ".join([sent, *(f"{name} {_shown(value)}" for name, value in _limits(planned).items()), *first])


def _limits(planned: PlannedMigration) -> dict[str, float | None]:
    return {"lock_timeout": planned.lock_timeout_s, "statement_timeout": planned.statement_timeout_s}


def _shown(seconds: float | None) -> str:
    if seconds is None:
        return "as the server has it"
    return f"{seconds:g} s" if seconds else "none"


# --- Locks --------------------------------------------------------------------------------------


def _show_locks(reports: list[LockReport]) -> None:
    rows = [("" if index else each.name, *cells) for each in reports for index, cells in enumerate(_rows_of(each))]
    show_table("Locks", ("migration", "table", "lock", "meanwhile"), rows)


def _rows_of(report: LockReport) -> list[tuple[str, str, str]]:
    """The strongest lock on each table, and the sessions that wait for it."""
    strongest = {lock.table: lock for lock in report.locks}  # weakest first
    rows = [
        (lock.table, lock.mode, _meanwhile(lock, report))
        for lock in sorted(strongest.values(), key=lambda lock: lock.table)
    ]
    if report.transactional:
        return rows or [("none", "", "trades go on")]
    if report.waited_for_writers and not report.blocked:
        return [(table, mode, f"{text}; it waits for open transactions") for table, mode, text in rows]
    return rows or [("none for longer than a statement of its own", "", "trades go on")]


def _meanwhile(lock: TableLock, report: LockReport) -> str:
    if lock.new:
        return "the table is new"
    who = "reads and trades wait" if lock.readers_wait else "trades wait" if lock.writers_wait else "trades go on"
    return f"{who} while it is rewritten" if lock.table in report.rewritten else who


def _as_object(planned: PlannedMigration, reports: list[LockReport]) -> dict[str, Any]:
    found = {
        "name": planned.name,
        "path": str(planned.path),
        "transactional": planned.transactional,
        "lock_timeout_s": planned.lock_timeout_s,
        "statement_timeout_s": planned.statement_timeout_s,
        "preflight": planned.preflight,
        "breaks": list(planned.breaks),
        "sql": planned.sql,
    }
    for each in reports:
        if each.name == planned.name:
            found["locks"] = [
                {
                    "table": lock.table,
                    "mode": lock.mode,
                    "new_table": lock.new,
                    "writers_wait": lock.writers_wait,
                    "readers_wait": lock.readers_wait,
                }
                for lock in each.locks
            ]
            found["rewritten"] = sorted(each.rewritten)
            found["waited_for_writers"] = each.waited_for_writers
    return found
