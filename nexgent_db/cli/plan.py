"""``plan``: what ``migrate`` would do, and which locks that takes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nexgent_db.cli import target
from nexgent_db.cli.catalog import Scratch, empty_database
from nexgent_db.cli.machine import Json, print_json
from nexgent_db.cli.show import show_table
from nexgent_db.cli.target import DatabaseUrl
from nexgent_db.migrations import MeasuredMigration, Migrator, PlannedMigration, TableLock

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command()(plan)


def plan(
    to: Annotated[str | None, typer.Option(metavar="ID", help="The last migration to plan; without it, all.")] = None,
    locks: Annotated[
        bool,
        typer.Option("--locks", help="Run each on an empty copy, and tell the locks on tables that it takes there."),
    ] = False,
    scratch: Scratch = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Print the SQL that migrate would send, exactly, with its limits. Writes nothing.

    With --locks, print instead which tables each migration locks, and who waits for it meanwhile: measured on a copy of
    the schema, without rows. A lock is held until the end of its migration.
    """
    with target.opened(database_url) as database:
        migrator = Migrator(database.settings.conninfo)
        planned = migrator.plan(to)
        measured = list[MeasuredMigration]()
        if locks and planned:
            with empty_database(scratch) as copy:
                measured = migrator.measure(copy, to)
    if as_json:
        print_json({"migrations": [_as_object(each, measured) for each in planned]})
    elif not planned:
        typer.echo("-- nothing to do")
    elif locks:
        _show_locks(measured)
    else:
        for number, each in enumerate(planned, start=1):
            typer.echo(f"-- [{number}/{len(planned)}] {each.name}: {_how(each)}")
            typer.echo(each.sql if each.sql.endswith("\n") else f"{each.sql}\n")


def _how(planned: PlannedMigration) -> str:
    """How it is sent, in a comment of one line."""
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


def _show_locks(measured: list[MeasuredMigration]) -> None:
    rows = [("" if index else each.name, *cells) for each in measured for index, cells in enumerate(_rows_of(each))]
    show_table("Locks", ("migration", "table", "lock", "meanwhile"), rows)


def _rows_of(measured: MeasuredMigration) -> list[tuple[str, str, str]]:
    """The strongest lock on each table, and who waits for it."""
    strongest = {lock.table: lock for lock in measured.locks}  # weakest first
    rows = [
        (lock.table, lock.mode, _meanwhile(lock, measured))
        for lock in sorted(strongest.values(), key=lambda lock: lock.table)
    ]
    if measured.transactional:
        return rows or [("none", "", "trades go on")]
    if measured.waited_for_writers and not measured.blocked:
        return [(table, mode, f"{text}; it waits for open transactions") for table, mode, text in rows]
    return rows or [("none for longer than a statement of its own", "", "trades go on")]


def _meanwhile(lock: TableLock, measured: MeasuredMigration) -> str:
    if lock.new:
        return "the table is new"
    who = "reads and trades wait" if lock.readers_wait else "trades wait" if lock.writers_wait else "trades go on"
    return f"{who} while it is rewritten" if lock.table in measured.rewritten else who


def _as_object(planned: PlannedMigration, measured: list[MeasuredMigration]) -> dict[str, Any]:
    found = {
        "name": planned.name,
        "path": str(planned.path),
        "transactional": planned.transactional,
        "lock_timeout_s": planned.lock_timeout_s,
        "statement_timeout_s": planned.statement_timeout_s,
        "preflight": planned.preflight,
        "sql": planned.sql,
    }
    for each in measured:
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
