"""Which database a command works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from nexgent_db.embedded import default_root, postgres
from nexgent_db.migrations import MessageCallback, Migrator, StepCallback
from nexgent_db.settings import Settings
from nexgent_db.sync.database import Database

__all__ = ["DatabaseUrl", "Target", "migrate", "opened", "refuse_unmigrated"]

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL",
        show_default=False,
        metavar="URL",
        help="postgresql://user:password@host:5432/database. Without it, an embedded PostgreSQL serves.",
    ),
]


@dataclass(frozen=True, slots=True)
class Target:
    """The database of a command, and whether it is the embedded server's."""

    settings: Settings
    embedded: bool


@contextmanager
def opened(database_url: str | None) -> Iterator[Target]:
    """The database of ``database_url``, else this account's embedded one, which runs for as long as the block.

    Raises ConfigurationError, EmbeddedServerError.
    """
    if database_url and database_url.strip():
        yield Target(Settings.from_url(database_url.strip()), embedded=False)
        return
    with postgres(default_root()) as url:
        yield Target(Settings.from_url(url), embedded=True)


def migrate(
    target: Target, on_step: StepCallback | None = None, on_message: MessageCallback | None = None
) -> list[str]:
    """Apply what is pending; the names."""
    return Migrator(target.settings.conninfo, on_step=on_step, on_message=on_message).migrate()


def refuse_unmigrated(target: Target) -> None:
    """Raise SchemaNotReady for another schema: figures would be rounded, or a query fail half-way."""
    with Database(target.settings) as db:
        db.assert_schema()
