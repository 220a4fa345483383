"""``cache``: fill it, compare it with the database, mend it, look at it, empty it, and bring it what it has missed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer

from nexgent_db.cli import target
from nexgent_db.cli.show import one_line, printable, progress_bar, show_table
from nexgent_db.cli.target import DatabaseUrl, RedisUrl, Target
from nexgent_db.errors import CacheUnreachable, ConfigurationError, NexgentError
from nexgent_db.models.cache import CacheComparison, CacheDifference, CacheStatus
from nexgent_db.sync.database import Database

__all__ = ["register", "verified"]

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Limit = Annotated[int, typer.Option(min=0, help="How many differences are told one by one.")]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    cache = typer.Typer(
        no_args_is_help=True,
        epilog="The cache is REDIS_URL, a Redis or Valkey; with an embedded PostgreSQL it is an embedded Valkey.",
    )
    for command in (warm, verify, repair, status, reset, drain):
        cache.command()(command)
    app.add_typer(cache, name="cache", help="Fill, compare, mend, look at and empty the cache.")


def warm(as_json: AsJson = False, database_url: DatabaseUrl = None, redis_url: RedisUrl = None) -> None:
    """Bring every position, balance and agent into the cache, and make all index sets complete."""
    with _opened(database_url, redis_url) as db, progress_bar("warming") as on_progress:
        warmed = db.cache.warm(on_progress)
    rate = round(warmed.rows / warmed.seconds)
    if as_json:
        typer.echo(json.dumps({**warmed.model_dump(), "rows_per_s": rate}))
    else:
        typer.echo(f"{warmed.rows} rows and {warmed.sets} sets in {warmed.seconds:.1f} s: {rate} rows/s")


def verify(
    as_json: AsJson = False, limit: Limit = 100, database_url: DatabaseUrl = None, redis_url: RedisUrl = None
) -> None:
    """Compare everything cached with the database. Exit code 0: equal; 1: not; 2: no comparison.

    Changes that nobody has brought into the cache yet are brought in first: they are lag, not differences. What goes on
    differing for a second is a difference; what writers are about to write is none.
    """
    compared = _compared(database_url, redis_url, as_json=as_json, limit=limit, mend=False)
    if compared.differences:
        raise typer.Exit(1)


def repair(
    as_json: AsJson = False, limit: Limit = 100, database_url: DatabaseUrl = None, redis_url: RedisUrl = None
) -> None:
    """The same, and mend what differs. Exit code 0: equal now; 1: something could not be mended; 2: no comparison."""
    compared = _compared(database_url, redis_url, as_json=as_json, limit=limit, mend=True)
    if compared.mended < compared.differences:
        raise typer.Exit(1)


def status(as_json: AsJson = False, database_url: DatabaseUrl = None, redis_url: RedisUrl = None) -> None:
    """How the cache is doing: reads that it answered, changes that wait, repairs, keys. Exit code 1: not usable."""
    with _target(database_url, redis_url) as where:
        with Database(where.without_cache) as db:  # before the cache is opened, which brings in what waits
            waiting, lag_s = db.cache.waiting(), db.cache.lag_s()
        with Database(where.settings) as db:
            _refuse_unusable(db)
            found = db.cache.status().model_copy(update={"waiting": waiting, "lag_s": lag_s})
    if as_json:
        typer.echo(json.dumps({**found.model_dump(), "hit_rate": found.hit_rate}))
    else:
        _show_status(found)


def reset(database_url: DatabaseUrl = None, redis_url: RedisUrl = None) -> None:
    """Delete what is cached, of every process; locks and other helpers stay. Readers fill it again."""
    with _opened(database_url, redis_url) as db:
        db.cache.reset()
    typer.echo("emptied: readers fill it again, or nexgent-db cache warm")


def drain(
    follow: Annotated[bool, typer.Option("--follow", help="Go on for ever, and compare and mend as well.")] = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Bring the changes into the cache that nobody has brought in: for a cron or a sidecar, beside others or alone.

    Every change of a cached row waits in the table cache_outbox until some process does this, a service that runs
    maintenance or this command. Without REDIS_URL, changes that have waited for an hour are put together into one, upon
    which a cache that is switched on later is emptied.
    """
    with target.opened(database_url, redis_url, with_cache=True) as where:
        _prepare(where)
        with suppress(KeyboardInterrupt), Database(where.settings) as db:
            if where.settings.redis_url is None:
                _forget(db)
            else:
                _drain(db)
            if follow:
                db.cache.run_maintenance()


# --- The cache of a command ---------------------------------------------------------------------


@contextmanager
def _target(database_url: str | None, redis_url: str | None) -> Iterator[Target]:
    with target.opened(database_url, redis_url, with_cache=True) as where:
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
        target.refuse_unmigrated(where)


@contextmanager
def _opened(database_url: str | None, redis_url: str | None) -> Iterator[Database]:
    with _target(database_url, redis_url) as where, Database(where.settings) as db:
        _refuse_unusable(db)
        yield db


def _refuse_unusable(db: Database) -> None:
    metrics = db.cache.metrics()
    if metrics.state == "open":
        raise CacheUnreachable(f"Redis cannot be used: {metrics.reason or 'another process empties it'}")


# --- Draining -----------------------------------------------------------------------------------


def _drain(db: Database) -> None:
    _refuse_unusable(db)
    while db.cache.metrics().state == "catching up" or db.cache.maintain():
        time.sleep(0.01 if db.cache.metrics().state == "catching up" else 0)
    _refuse_unusable(db)
    typer.echo(f"{db.cache.metrics().drained} changes brought into the cache: no other waits")


def _forget(db: Database) -> None:
    forgotten = 0
    while some := db.cache.forget_changes():
        forgotten += some
    typer.echo(f"REDIS_URL is not set: {forgotten} changes that had waited for an hour were put together into one")


# --- Comparing ----------------------------------------------------------------------------------


def _compared(
    database_url: str | None, redis_url: str | None, *, as_json: bool, limit: int, mend: bool
) -> CacheComparison:
    told: list[CacheDifference] = []

    def on_difference(difference: CacheDifference) -> None:
        if len(told) < limit:
            told.append(difference)

    try:
        with _opened(database_url, redis_url) as db, progress_bar("comparing") as on_progress:
            compare = db.cache.repair if mend else db.cache.verify
            compared = compare(on_difference, on_progress)
    except NexgentError as error:
        typer.echo(f"nexgent-db: {one_line(str(error))}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        document = {**compared.model_dump(), "differences": [each.model_dump() for each in told]}
        typer.echo(json.dumps(document, ensure_ascii=False))
    else:
        _show_compared(compared, told, mend=mend)
    return compared


def _show_compared(compared: CacheComparison, told: list[CacheDifference], *, mend: bool) -> None:
    if told:
        show_table(
            "Differences", ("kind", "key", "what"), [(each.kind, each.key, printable(each.detail)) for each in told]
        )
    if (more := compared.differences - len(told)) > 0:
        typer.echo(f"and {more} more")
    typer.echo(verified(compared) + (f"; {compared.mended} mended" if mend and compared.differences else ""))


def verified(compared: CacheComparison) -> str:
    """The result in a sentence."""
    if not compared.differences:
        return f"{compared.compared} cached entries are what the database says"
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(compared.different.items()))
    return f"{compared.differences} of {compared.compared} cached entries differ: {kinds}"


# --- Showing ------------------------------------------------------------------------------------


def _show_status(found: CacheStatus) -> None:
    rate = found.hit_rate
    counts = found.statistics
    memory = f"{found.used_memory / 2**20:.1f} MiB"
    rows: list[tuple[str, str | int]] = [
        ("connection", found.state),
        ("epoch", found.epoch),
        ("reads answered by the cache", "nobody has counted" if rate is None else f"{100 * rate:.1f} %"),
        ("changes that wait", found.waiting),
        ("the oldest for", f"{found.lag_s:.1f} s"),
        ("drained", counts.get("drained", 0)),
        ("repaired", counts.get("repaired", 0)),
        ("of them ghosts", counts.get("ghosts", 0)),
        ("the server's memory", memory + (f" of {found.max_memory / 2**20:.0f} MiB" if found.max_memory else "")),
        *((f"keys: {kind}", count) for kind, count in sorted(found.keys.items())),
    ]
    show_table(f"Cache {found.prefix}", ("", "figure"), rows)
