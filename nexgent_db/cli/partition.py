"""``partition``: give the tables that only grow partitions, keep them, and take old ones away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from nexgent_db.cli import target
from nexgent_db.cli.show import one_line
from nexgent_db.cli.target import DatabaseUrl, RequireUrl
from nexgent_db.migrations.partitions import GrowingTable, Partitioner, PartitionStep
from nexgent_db.migrations.partitions.tables import Bound

__all__ = ["register"]

_partition = typer.Typer(
    help="Partitions for the tables that only grow: optional, online, and undone as they were made.",
    no_args_is_help=True,
)


class _Interval(StrEnum):
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


_Tables = Annotated[list[str] | None, typer.Argument(metavar="[TABLE]…", help="All five without one.")]
_Every = Annotated[_Interval, typer.Option(help="The time that one partition has.")]
_Ahead = Annotated[int, typer.Option(min=1, max=120, help="How many partitions are made ahead.")]
_FirstEnds = Annotated[
    datetime | None,
    typer.Option(
        "--from",
        metavar="DATE",
        formats=["%Y-%m-%d"],
        show_default=False,
        help="Where the table as it is ends. By default the end of an interval that is a week away or more.",
    ),
]
_LockTimeout = Annotated[float, typer.Option(min=0.05, max=60, help="How long a step, and trades behind it, may wait.")]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(_partition, name="partition")


@_partition.command()
def plan(
    tables: _Tables = None,
    every: _Every = _Interval.MONTH,
    ahead: _Ahead = 3,
    first_ends: _FirstEnds = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Print the pending steps with their SQL, exactly as apply would send them now. Reads only."""
    with target.opened(database_url) as database:
        planned = _partitioner(database.settings.conninfo, tables, every, ahead).plan(_utc(first_ends))
    for table, step in planned:
        typer.echo(f"-- {table.name}: {step.name} ({_HOW[step.kind]})\n-- {step.why}")
        typer.echo("".join(f"{statement.rstrip().rstrip(';')};\n" for statement in step.statements))
    if not planned:
        typer.echo("-- nothing to do")


_HOW = {
    "transaction": "one transaction",
    "alone": "outside of a transaction",
    "batches": "the first statement again and again, each with the id that the one before returned",
    "wait": "one transaction, after those of before",
}


@_partition.command()
def apply(
    tables: _Tables = None,
    every: _Every = _Interval.MONTH,
    ahead: _Ahead = 3,
    first_ends: _FirstEnds = None,
    lock_timeout_s: _LockTimeout = 0.5,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Partition the tables, step by step, while services trade. After an interruption, run it again: it goes on.

    For the tables' owner, or the migrator's role.
    """
    with target.written(database_url, require_url) as database:
        conninfo = database.settings.conninfo
        done = _partitioner(conninfo, tables, every, ahead, lock_timeout_s).apply(_utc(first_ends))
    typer.echo(f"{done} steps taken" if done else "nothing to do")
    if done:
        typer.echo("plans for values consider every partition: ALTER ROLE … SET plan_cache_mode = force_generic_plan")


@_partition.command()
def undo(
    tables: _Tables = None,
    max_rows: Annotated[int, typer.Option(min=0, help="How many rows may be copied while trades wait.")] = 100_000,
    lock_timeout_s: _LockTimeout = 0.5,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make the tables whole again, the last first. After an interruption, run it again: it goes on."""
    with target.written(database_url, require_url) as database:
        conninfo = database.settings.conninfo
        done = _partitioner(conninfo, tables, lock_timeout_s=lock_timeout_s).undo(max_rows)
    typer.echo(f"{done} steps taken" if done else "nothing to do")


@_partition.command()
def check(tables: _Tables = None, database_url: DatabaseUrl = None) -> None:
    """List the partitions; exit with 1 when a table has none for the present. Reads only."""
    with target.opened(database_url) as database:
        states = _partitioner(database.settings.conninfo, tables).states()
    for state in states:
        typer.echo(one_line(f"{state.table}: {f'{len(state.partitions)} partitions' if state.partitions else 'whole'}"))
        for each in state.partitions:
            typer.echo(one_line(f"  {each.name}  {_shown(each.low)} to {_shown(each.high)}  about {each.rows:,} rows"))
    missing = [f"{state.table}: {state.missing}" for state in states if state.missing]
    for text in missing:
        typer.echo(one_line(f"{text}; nexgent-db partition maintain makes it, and moves them"), err=True)
    if missing:
        raise typer.Exit(1)


@_partition.command()
def maintain(
    tables: _Tables = None,
    every: _Every = _Interval.MONTH,
    ahead: _Ahead = 3,
    lock_timeout_s: _LockTimeout = 0.5,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make the partitions ahead that are missing: run it every day. Rows that went to the last one are moved."""
    with target.written(database_url, require_url) as database:
        made = _partitioner(database.settings.conninfo, tables, every, ahead, lock_timeout_s).maintain()
    typer.echo("\n".join(f"made {name}" for name in made) or "nothing to do")


@_partition.command()
def retire(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="trade_requests, agent_balance_snapshots, cache_outbox.")
    ],
    older_than_days: Annotated[
        int | None, typer.Option(min=1, metavar="DAYS", show_default=False, help="The age of all rows of a partition.")
    ] = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="Drop them; without it they become tables of their own.")
    ] = False,
    lock_timeout_s: _LockTimeout = 0.5,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Take away the partitions that are old as a whole: detached, or dropped. The ledger's are refused."""
    before = None if older_than_days is None else datetime.now(UTC) - timedelta(days=older_than_days)
    with target.written(database_url, require_url) as database:
        partitioner = _partitioner(database.settings.conninfo, None, lock_timeout_s=lock_timeout_s)
        retired = partitioner.retire(table, before, drop=drop)
    for each in retired:
        kept = f", {each.kept} rows stay in {table}" if each.kept else ""
        typer.echo(one_line(f"{'dropped' if each.dropped else 'detached'} {each.name}{kept}"))
    if not retired:
        typer.echo("nothing to do")


def _partitioner(
    conninfo: str,
    tables: list[str] | None,
    every: _Interval = _Interval.MONTH,
    ahead: int = 3,
    lock_timeout_s: float = 0.5,
) -> Partitioner:
    return Partitioner(
        conninfo,
        tables or (),
        interval=every.value,
        ahead=ahead,
        lock_timeout_s=lock_timeout_s,
        on_step=_report,
    )


def _report(table: GrowingTable, step: PartitionStep, seconds: float) -> None:
    typer.echo(one_line(f"{seconds:7.2f} s  {table.name}: {step.name}"), err=True)


def _utc(date: datetime | None) -> datetime | None:
    return None if date is None else date.replace(tzinfo=UTC)


def _shown(bound: Bound) -> str:
    return "…" if bound is None else f"{bound:%Y-%m-%d}" if isinstance(bound, datetime) else f"{bound:,}"
