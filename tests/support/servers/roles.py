"""A database with the roles of sql/roles.sql, and connections as each of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nexgent_db.schema.roles import ROLES, apply_roles
from nexgent_db.testing.databases import Databases

DIRECTORY: Final = {"user_cells.create", "user_cells.update", "user_cells.delete"}
"""The queries that only the app may run: which cell has a user is the service's decision."""
NOT_THE_TENANTS: Final = {"cache.take_changes", "cache.compact_outbox", "trade_requests.prune", *DIRECTORY}
"""The queries that a tenant may not run: the queue of changes and the retention of requests concern all users."""

_NUMBERS: Final = itertools.count(1)
_PASSWORD: Final = "a password for tests"


@dataclass(frozen=True)
class RoledDatabase:
    """A database whose roles have a prefix of their own: roles belong to the server. ``url`` is the superuser's."""

    url: str
    prefix: str

    def name_of(self, role: str) -> str:
        return f"{self.prefix}_{role}"

    def url_of(self, role: str) -> str:
        return make_conninfo(self.url, user=self.name_of(role), password=_PASSWORD)

    def apply(self) -> None:
        """Create the roles, with a password for servers that ask for one."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            apply_roles(connection, self.prefix)
            for role in ROLES:
                name = sql.Identifier(self.name_of(role))
                connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, _PASSWORD))


def new_prefix() -> str:
    return f"t{os.getpid()}_{next(_NUMBERS)}"


@contextmanager
def roles_dropped(server_url: str, prefix: str) -> Iterator[None]:
    """Afterwards the server has no role of this prefix; the databases must be gone by then."""
    try:
        yield
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            for role in ROLES:
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(f"{prefix}_{role}")))


@contextmanager
def roled_copy(server_url: str, databases: Databases, template_url: str) -> Iterator[RoledDatabase]:
    """A copy of the template with roles of its own; both are dropped afterwards."""
    prefix = new_prefix()
    with roles_dropped(server_url, prefix), databases.copy(template_url) as url:
        database = RoledDatabase(url, prefix)
        database.apply()
        yield database
