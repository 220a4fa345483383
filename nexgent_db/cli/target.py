"""The database and the cache that a command uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from nexgent_db.cli import project
from nexgent_db.embedded import EmbeddedServerError, default_root, postgres, valkey
from nexgent_db.migrations import MessageCallback, Migrator, StepCallback
from nexgent_db.settings import Settings, check_redis_url
from nexgent_db.sync.database import Database

__all__ = ["DatabaseUrl", "RedisUrl", "Target", "ensure_migrated", "migrate", "migrator", "opened"]

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL",
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


@contextmanager
def opened(database_url: str | None, redis_url: str | None = None, *, with_cache: bool = False) -> Iterator[Target]:
    """The database of ``database_url``, else this account's embedded one, which runs during the ``with`` block.

    ``with_cache`` starts an embedded Valkey beside an embedded PostgreSQL, unless ``redis_url`` or REDIS_URL names a
    server. Without a program for Valkey there is no cache. Raises ConfigurationError, EmbeddedServerError.
    """
    with ExitStack() as servers:
        embedded = not (database_url and database_url.strip())
        url = servers.enter_context(postgres(default_root())) if embedded else (database_url or "").strip()
        settings = Settings.from_url(url)
        if redis_url and redis_url.strip():
            settings = replace(settings, redis_url=check_redis_url(redis_url.strip()))
        elif with_cache and embedded and settings.redis_url is None:
            with suppress(EmbeddedServerError):
                settings = replace(settings, redis_url=servers.enter_context(valkey(default_root())))
        yield Target(settings, embedded)


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
