# Generated from nexgent_db/aio/tenant.py by `make sync`: do not edit.
"""Tenants: each transaction names its user and takes the tenants' role, so row-level security limits it to this user.

Both settings are local to the transaction: one pool serves any user, and calls for all users beside them. They work
only with the policies of ``sql/roles.sql``, so a pool's first use for a tenant checks these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import Connection, sql

from nexgent_db.errors import InvalidInput, TenantNotIsolated, translate


class TenantRole:
    """The role in which the sessions of one pool see one user at a time, once it is found and verified.

    Policies are those of a schema: each cell has its own, with its search path.
    """

    def __init__(self, search_path: str | None = None) -> None:
        self._search_path = search_path
        self._name: str | None = None

    def name(self, connection: Connection[Any]) -> str:
        """The role's name. The first call asks the server, on an idle connection.

        Raises TenantNotIsolated when the session's role is exempt from row-level security, or when this role and the
        tenants' role, if it may become that one, see other users' rows; and what queries raise.
        """
        if self._name is None:
            try:
                with connection.transaction():
                    if self._search_path is not None:
                        connection.execute(b"SELECT set_config('search_path', %s, true)", [self._search_path])
                    self._name = _isolated_role(connection)
            except psycopg.Error as error:
                raise translate(error) from error
        return self._name


@dataclass(frozen=True, slots=True)
class Tenant:
    """A user, and the role in which the pool's sessions act for users."""

    user_id: UUID
    role: TenantRole

    def __post_init__(self) -> None:
        if not isinstance(self.user_id, UUID):
            raise InvalidInput("tenant", f"a UUID is expected, not {type(self.user_id).__name__}")


def _isolated_role(connection: Connection[Any]) -> str:
    """The session's role when it sees one user's rows only, else the tenants' role, if that does."""
    exempt, tenants, role = _one(connection, _WHO)
    if exempt:
        raise TenantNotIsolated(f"{role} is exempt from row-level security: log in as another role")
    open_to_all = _open_to_all(connection)
    if open_to_all and tenants is not None:
        role = tenants
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        open_to_all = _open_to_all(connection)
    if open_to_all:
        more = f" and {len(open_to_all) - 3} tables more" if len(open_to_all) > 3 else ""
        raise TenantNotIsolated(
            f"{role} sees all users' rows in {', '.join(open_to_all[:3])}{more}: make the roles"
            " (nexgent-db roles apply), and connect as the one for services or for tenants"
        )
    assert isinstance(role, str)
    return role


def _one(connection: Connection[Any], query: bytes) -> Any:
    return connection.execute(query).fetchone()


def _open_to_all(connection: Connection[Any]) -> list[str]:
    """The tables that the session can use and whose policies do not limit it to one user."""
    return [name for (name,) in connection.execute(_OPEN_TO_ALL).fetchall()]


# The owner of a table, and roles that inherit from it, are exempt from its policies: row_security_active() shows it.
_WHO: Final = b"""
SELECT
    me.rolsuper OR me.rolbypassrls,
    (
        SELECT tenant.rolname
        FROM pg_policy AS p
        JOIN pg_roles AS tenant ON tenant.oid = ANY(p.polroles)
        WHERE p.polrelid = to_regclass(quote_ident(current_schema()) || '.agents')
            AND p.polname = 'tenant'
            AND pg_has_role(tenant.oid, 'MEMBER')
    ),
    me.rolname
FROM pg_roles AS me
WHERE me.rolname = current_user
"""

_OPEN_TO_ALL: Final = b"""
SELECT c.relname::text
FROM pg_class AS c
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND c.relname !~ '^(_yoyo_|yoyo_lock$|_nexgent_)' -- which migrations were applied
    AND (has_any_column_privilege(c.oid, 'SELECT, UPDATE') OR has_table_privilege(c.oid, 'DELETE'))
    AND NOT (
        row_security_active(c.oid)
        AND EXISTS (
            SELECT
            FROM pg_policy AS p, unnest(p.polroles) AS kept
            WHERE p.polrelid = c.oid AND p.polname = 'tenant' AND NOT p.polpermissive AND pg_has_role(kept, 'USAGE')
        )
    )
ORDER BY 1
"""
