"""``cache``: warm, verify, repair, show and reset the cache, and relay its outbox."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Final

import typer

from nexgent_db._text import visible
from nexgent_db.cli import ending, target
from nexgent_db.cli.machine import print_error, print_json
from nexgent_db.cli.show import one_line, progress_bar, show_table
from nexgent_db.cli.target import DatabaseUrl, RedisUrl, RequireUrl, Target
from nexgent_db.errors import CacheUnreachable, ConfigurationError, NexgentError
from nexgent_db.models.cache import CacheComparison, CacheDifference, CacheStatus
from nexgent_db.sync.database import Database

__all__ = ["register", "verified"]

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
LAST_RELAY_S: Final = 5.0
"""How long the end of ``relay --follow`` goes on relaying."""
Limit = Annotated[int, typer.Option(min=0, help="How many differences to list.")]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    cache = typer.Typer(
        no_args_is_help=True,
        epilog="REDIS_URL names the cache, a Redis or Valkey. An embedded PostgreSQL has an embedded Valkey.",
    )
    for command in (warm, verify, repair, status, reset, relay):
        cache.command()(command)
    app.add_typer(cache, name="cache", help="Warm, verify, repair, show, reset and relay to the cache.")


def warm(
    as_json: AsJson = False,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Cache every position, balance and agent, and make all index sets complete."""
    with _opened(database_url, redis_url, require_url) as db, progress_bar("warming") as on_progress:
        warmed = db.cache.admin.warm(on_progress)
    rate = round(warmed.rows / warmed.seconds)
    if as_json:
        print_json({**warmed.model_dump(), "rows_per_s": rate})
    else:
        typer.echo(f"{warmed.rows} rows and {warmed.sets} sets in {warmed.seconds:.1f} s: {rate} rows/s")


def verify(
    as_json: AsJson = False,
    limit: Limit = 100,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Compare every cached entry with the database. Exit code 0: equal; 1: not; 2: no comparison.

    Relays the outbox first: a change that waits there is lag, not a difference. An entry counts as a difference when it
    still differs after a second, unless a writer is about to change it.
    """
    compared = _compared(database_url, redis_url, require_url, as_json=as_json, limit=limit, repair=False)
    if compared.differences:
        raise typer.Exit(1)


def repair(
    as_json: AsJson = False,
    limit: Limit = 100,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Verify, and repair the differences. Exit code 0: equal now; 1: some differences remain; 2: no comparison."""
    compared = _compared(database_url, redis_url, require_url, as_json=as_json, limit=limit, repair=True)
    if compared.repaired < compared.differences:
        raise typer.Exit(1)


def status(as_json: AsJson = False, database_url: DatabaseUrl = None, redis_url: RedisUrl = None) -> None:
    """Show the cache's state: its share of reads, waiting changes, repairs, keys. Exit code 1: not usable."""
    with _target(database_url, redis_url) as where:
        with Database(where.without_cache) as db:  # before the cache is opened, which relays the outbox
            waiting, lag_s = db.cache.maintenance.waiting(), db.cache.maintenance.lag_s()
        with Database(where.settings) as db:
            _refuse_unusable(db)
            state = db.cache.admin.status().model_copy(update={"waiting": waiting, "lag_s": lag_s})
    if as_json:
        print_json({**state.model_dump(), "hit_rate": state.hit_rate})
    else:
        _show_status(state)


def reset(require_url: RequireUrl = None, database_url: DatabaseUrl = None, redis_url: RedisUrl = None) -> None:
    """Delete the cached rows of every process; locks and stored results stay. Readers fill the cache again."""
    with _opened(database_url, redis_url, require_url) as db:
        db.cache.admin.reset()
    typer.echo("emptied: readers fill it again, or nexgent-db cache warm does")


def relay(
    follow: Annotated[bool, typer.Option("--follow", help="Run until stopped; also verify and repair.")] = False,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Apply the changes of the outbox to the cache: for a cron job or a sidecar. SIGTERM or Ctrl-C ends it after the
    round in progress and, with Redis, once what waits then is applied, in five seconds at most.

    Every change of a cached row waits in the table cache_outbox until a process relays it: a service that runs
    maintenance, or this command. Without REDIS_URL, the command compacts entries older than an hour into one flush
    entry, which empties a later cache.
    """
    with target.opened(database_url, redis_url, with_cache=True, writes=True, require_url=require_url) as where:
        _prepare(where)
        with suppress(KeyboardInterrupt), Database(where.settings) as db:
            if where.settings.redis_url is None:
                _compact(db)
            else:
                _relay(db)
            if follow:
                with ending.calling(db.cache.maintenance.stop):
                    db.cache.maintenance.run()
                _close(db)


# --- The cache of a command ---------------------------------------------------------------------


@contextmanager
def _target(
    database_url: str | None, redis_url: str | None, *, writes: bool = False, require_url: bool | None = False
) -> Iterator[Target]:
    with target.opened(database_url, redis_url, with_cache=True, writes=writes, require_url=require_url) as where:
        if where.settings.redis_url is None:
            raise ConfigurationError(
                "REDIS_URL is not set: there is no cache (redis://host:6379/0 or unix:///path.sock)"
            )
        _prepare(where)
        yield where


def _prepare(where: Target) -> None:
    if where.embedded:
        target.migrate(where)
    else:
        target.ensure_migrated(where)


@contextmanager
def _opened(database_url: str | None, redis_url: str | None, require_url: bool | None) -> Iterator[Database]:
    target_ = _target(database_url, redis_url, writes=True, require_url=require_url)
    with target_ as where, Database(where.settings) as db:
        _refuse_unusable(db)
        yield db


def _refuse_unusable(db: Database) -> None:
    metrics = db.cache.metrics()
    if metrics.state == "open":
        raise CacheUnreachable(f"Redis cannot be used: {metrics.reason or 'another process empties it'}")


# --- Relaying -----------------------------------------------------------------------------------


def _relay(db: Database) -> None:
    _refuse_unusable(db)
    while db.cache.metrics().state == "catching up" or db.cache.maintenance.run_once():
        time.sleep(0.01 if db.cache.metrics().state == "catching up" else 0)
    _refuse_unusable(db)
    typer.echo(f"{db.cache.metrics().relayed} changes relayed: no other waits")


def _close(db: Database) -> None:
    left = db.close(LAST_RELAY_S)
    typer.echo("ended: " + ("the database did not answer" if left is None else f"{left} changes wait in the outbox"))


def _compact(db: Database) -> None:
    compacted = 0
    while some := db.cache.maintenance.compact_outbox():
        compacted += some
    typer.echo(f"REDIS_URL is not set: {compacted} changes older than an hour were compacted into one")


# --- Comparing ----------------------------------------------------------------------------------


def _compared(
    database_url: str | None,
    redis_url: str | None,
    require_url: bool | None,
    *,
    as_json: bool,
    limit: int,
    repair: bool,
) -> CacheComparison:
    reported: list[CacheDifference] = []

    def on_difference(difference: CacheDifference) -> None:
        if len(reported) < limit:
            reported.append(difference)

    try:
        with _opened(database_url, redis_url, require_url) as db, progress_bar("comparing") as on_progress:
            compare = db.cache.admin.repair if repair else db.cache.admin.verify
            compared = compare(on_difference, on_progress)
    except NexgentError as error:
        typer.echo(f"nexgent-db: {one_line(str(error))}", err=True)
        if as_json:
            print_error(error)
        raise typer.Exit(2) from None
    if as_json:
        document = {**compared.model_dump(), "differences": [each.model_dump() for each in reported]}
        print_json(document)
    else:
        _show_compared(compared, reported, repair=repair)
    return compared


def _show_compared(compared: CacheComparison, reported: list[CacheDifference], *, repair: bool) -> None:
    if reported:
        show_table(
            "Differences", ("kind", "key", "what"), [(each.kind, each.key, visible(each.detail)) for each in reported]
        )
    if (more := compared.differences - len(reported)) > 0:
        typer.echo(f"and {more} more")
    typer.echo(verified(compared) + (f"; {compared.repaired} repaired" if repair and compared.differences else ""))


def verified(compared: CacheComparison) -> str:
    """The result of a comparison in one sentence."""
    if not compared.differences:
        return f"{compared.compared} cached entries agree with the database"
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(compared.different.items()))
    return f"{compared.differences} of {compared.compared} cached entries differ: {kinds}"


# --- Showing ------------------------------------------------------------------------------------


def _show_status(state: CacheStatus) -> None:
    rate = state.hit_rate
    counts = state.statistics
    memory = f"{state.used_memory / 2**20:.1f} MiB"
    rows: list[tuple[str, str | int]] = [
        ("connection", state.state),
        ("epoch", state.epoch),
        ("reads answered by the cache", "none yet" if rate is None else f"{100 * rate:.1f} %"),
        ("waiting changes", state.waiting),
        ("age of the oldest", f"{state.lag_s:.1f} s"),
        ("relayed", counts.get("relayed", 0)),
        ("repaired", counts.get("repaired", 0)),
        ("of them orphans", counts.get("orphans", 0)),
        ("the server's memory", memory + (f" of {state.max_memory / 2**20:.0f} MiB" if state.max_memory else "")),
        *((f"keys: {kind}", count) for kind, count in sorted(state.keys.items())),
    ]
    show_table(f"Cache {state.prefix}", ("", "figure"), rows)
