"""The database and the cache that a command uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from nexgent_db._redis_url import check_redis_url, describe_redis
from nexgent_db.cli import project
from nexgent_db.cli.show import one_line
from nexgent_db.embedded import EmbeddedServerError, default_root, postgres, valkey
from nexgent_db.errors import ConfigurationError
from nexgent_db.migrations import MessageCallback, Migrator, StepCallback
from nexgent_db.settings import Settings, describe
from nexgent_db.sync.database import Database

__all__ = [
    "DatabaseUrl",
    "RedisUrl",
    "RequireUrl",
    "Target",
    "ensure_migrated",
    "migrate",
    "migrator",
    "opened",
    "written",
]

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar=["DIRECT_DATABASE_URL", "DATABASE_URL"],  # the first that is set
        show_default=False,
        metavar="URL",
        help="postgresql://user:password@host:5432/database. An embedded PostgreSQL by default.",
    ),
]

RedisUrl = Annotated[
    str | None,
    typer.Option(
        envvar="REDIS_URL",
        show_default=False,
        metavar="URL",
        help="redis://host:6379/0 or unix:///path.sock. Beside an embedded PostgreSQL, an embedded Valkey by default.",
    ),
]


@dataclass(frozen=True, slots=True)
class Target:
    """The database of a command, and whether it runs on the embedded server."""

    settings: Settings
    embedded: bool

    @property
    def without_cache(self) -> Settings:
        """The settings of the same database without Redis."""
        return replace(self.settings, redis_url=None)


RequireUrl = Annotated[
    bool | None,
    typer.Option(
        "--require-url/--no-require-url",
        show_default=False,
        help="Refuse to run without DATABASE_URL, on the embedded PostgreSQL. The default where CI=true.",
    ),
]


@contextmanager
def opened(
    database_url: str | None,
    redis_url: str | None = None,
    *,
    with_cache: bool = False,
    writes: bool = False,
    require_url: bool | None = False,
) -> Iterator[Target]:
    """The database of ``database_url``, else this account's embedded one, which runs during the ``with`` block.

    ``with_cache`` starts an embedded Valkey beside an embedded PostgreSQL, unless ``redis_url`` or REDIS_URL names a
    server. Without a program for Valkey there is no cache. ``writes`` says on stderr to which database the command
    writes; ``require_url`` refuses the embedded one, None only where CI=true. Raises ConfigurationError,
    EmbeddedServerError.
    """
    redis_url = redis_url or os.environ.get("REDIS_URL")
    with ExitStack() as servers:
        embedded = not (database_url and database_url.strip())
        if embedded and (_in_ci() if require_url is None else require_url):
            raise ConfigurationError(
                "DATABASE_URL is not set, and this command should not write to the embedded PostgreSQL"
                " (--require-url, or CI=true): set it, or say --no-require-url"
            )
        url = servers.enter_context(postgres(default_root())) if embedded else (database_url or "").strip()
        settings = Settings.from_url(url)
        if redis_url and redis_url.strip():
            settings = replace(settings, redis_url=check_redis_url(redis_url.strip()))
        elif with_cache and embedded and settings.redis_url is None:
            with suppress(EmbeddedServerError):
                settings = replace(settings, redis_url=servers.enter_context(valkey(default_root())))
        if writes:
            why = ": the embedded PostgreSQL of this account, because DATABASE_URL is not set" if embedded else ""
            place = describe(settings.conninfo)
            if with_cache and settings.redis_url is not None:
                place += f", and to {describe_redis(settings.redis_url)}"
            typer.echo(one_line(f"writes to {place}{why}"), err=True)
        yield Target(settings, embedded)


def written(database_url: str | None, require_url: bool | None = False) -> AbstractContextManager[Target]:
    """As :func:`opened`, for a command that writes to the database only."""
    return opened(database_url, writes=True, require_url=require_url)


def _in_ci() -> bool:
    return os.environ.get("CI", "").strip().lower() in ("true", "1", "yes")


def migrate(
    target: Target, on_step: StepCallback | None = None, on_message: MessageCallback | None = None
) -> list[str]:
    """Apply pending migrations, a service's too; return their names."""
    return migrator(target.settings.conninfo, on_step, on_message).migrate()


def migrator(conninfo: str, on_step: StepCallback | None = None, on_message: MessageCallback | None = None) -> Migrator:
    """The migrator of this package's folder and the service's."""
    return Migrator(conninfo, migrations=project.current().migrations, on_step=on_step, on_message=on_message)


def ensure_migrated(target: Target) -> None:
    """Raise SchemaNotReady for another schema, which could round figures, or make a query fail half-way."""
    with Database(target.without_cache, migrations=project.current().migrations) as db:
        db.assert_schema()
