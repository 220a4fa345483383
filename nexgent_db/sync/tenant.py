# Generated from nexgent_db/aio/tenant.py by `make sync`: do not edit.
"""Tenants: each transaction names its user and takes the tenants' role, so row-level security limits it to this user.

The user, the role and the search path are set for each transaction: one pool serves any user, and calls for all users
beside them, and nothing that happened to a session before matters. They work only with the policies of
``sql/roles.sql``, so these are verified on each connection before its first use for a tenant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import sql

from nexgent_db.errors import InvalidInput, TenantNotIsolated, translate
from nexgent_db.poolers import TransactionSettings
from nexgent_db.schema.logins import user_of_login
from nexgent_db.sync.connection import PooledConnection

_USER: Final = "nexgent.user_id"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A user for whom the sessions of a pool act."""

    user_id: UUID

    def __post_init__(self) -> None:
        if not isinstance(self.user_id, UUID):
            raise InvalidInput("tenant", f"a UUID is expected, not {type(self.user_id).__name__}")

    def settings(self, connection: PooledConnection, search_path: str | None) -> TransactionSettings:
        """What a transaction on this connection has to set, with the search path of a cell if there is one.

        Raises as :func:`verify_isolation`, then TenantNotIsolated when the login acts for another user alone.
        """
        verified = connection.tenant_settings.get(search_path) or verify_isolation(connection, search_path)
        values = {_USER: str(self.user_id), **verified.values}
        if values[_USER] != str(self.user_id):
            raise TenantNotIsolated(f"the login acts for user {values[_USER]} alone, not for {self.user_id}")
        return TransactionSettings(values)


def verify_isolation(connection: PooledConnection, cell_path: str | None = None) -> TransactionSettings:
    """The settings with which transactions on this idle connection see one user's rows; the connection keeps them.

    They name the user when the login acts for one user alone, and leave the user out otherwise.
    Policies are those of a schema: ``cell_path`` is the search path of a cell, None stands for the session's own.

    Raises TenantNotIsolated when the login is exempt from row-level security, when queries would not find the tables
    where the policies were verified, when Citus distributes one of them, and when the role sees other users' rows in a
    table that it finds; and what queries raise.
    """
    connection.tenant_settings.pop(cell_path, None)
    of_cell = None if cell_path is None else TransactionSettings({"search_path": cell_path})
    try:
        connection.set_transaction_options(settings=of_cell)
        with connection.transaction():
            role, schemas, user_id = _isolated(connection)
    except psycopg.Error as error:
        raise translate(error) from error
    # Temporary tables come last: a session's own could stand before a table of the same name.
    search_path = sql.SQL(", ").join([*map(sql.Identifier, schemas), sql.SQL("pg_temp")]).as_string()
    values = {"row_security": "on", "search_path": search_path, "role": role}
    verified = TransactionSettings(values if user_id is None else {**values, _USER: str(user_id)})
    connection.tenant_settings[cell_path] = verified
    return verified


def _isolated(connection: PooledConnection) -> tuple[str, list[str], UUID | None]:
    """The role that sees one user's rows only: the session's, else the tenants'; the schemas of its path; and the user
    for whom alone the login acts, if it is one user's."""
    exempt, role, schemas, tenants, found, citus, login = _one(connection, _WHO)
    if exempt:
        raise TenantNotIsolated(f"{role} is exempt from row-level security: log in as another role")
    _ensure_found_first(role, schemas, found)
    open_to_all = _open_to_all(connection)
    if open_to_all and tenants is not None:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(tenants)))
        _, role, schemas, _, found, *_ = _one(connection, _WHO)
        _ensure_found_first(role, schemas, found)
        open_to_all = _open_to_all(connection)
    if citus and (distributed := _one(connection, _DISTRIBUTED)):
        raise TenantNotIsolated(
            f"the schema {distributed[0]} is distributed by Citus, which makes restrictive policies permissive:"
            " a tenant would see all users' rows; keep tables of tenants in another schema"
        )
    if open_to_all:
        more = f" and {len(open_to_all) - 3} tables more" if len(open_to_all) > 3 else ""
        raise TenantNotIsolated(
            f"{role} sees all users' rows in {', '.join(open_to_all[:3])}{more}: make the roles"
            " (nexgent-db roles apply), and connect as the one for services or for tenants"
        )
    return role, schemas, user_of_login(login)


def _ensure_found_first(role: str, schemas: list[str], found: str | None) -> None:
    """Raises TenantNotIsolated unless the role's queries find every table of this package in the first schema of its
    path: any other schema there, one that is named like the role for example, could have tables of the same names."""
    if found is None or found != schemas[0]:
        path = ", ".join(schemas) or "no schema"
        where = "which have not all tables of this package" if found is None else f"and the tables are in {found}"
        raise TenantNotIsolated(
            f"{role} looks for tables in {path}, {where}: name their schema alone, or first (?schema= in DATABASE_URL)"
        )


def _open_to_all(connection: PooledConnection) -> list[str]:
    """The tables that the session can use and whose policies do not limit it to one user."""
    return [name for (name,) in connection.execute(_OPEN_TO_ALL).fetchall()]


def _one(connection: PooledConnection, query: bytes) -> Any:
    return connection.execute(query).fetchone()


# The owner of a table, and roles that inherit from it, are exempt from its policies: row_security_active() shows it.
_WHO: Final = b"""
SELECT
    me.rolsuper OR me.rolbypassrls,
    me.rolname::text,
    ARRAY(
        SELECT path.name::text
        FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, place)
        WHERE path.name NOT IN ('pg_catalog', 'information_schema')
        ORDER BY path.place
    ),
    (
        SELECT tenant.rolname::text
        FROM pg_policy AS p
        JOIN pg_roles AS tenant ON tenant.oid = ANY(p.polroles)
        WHERE p.polrelid = to_regclass('agents')
            AND NOT p.polpermissive
            AND pg_has_role(tenant.oid, 'MEMBER')
        ORDER BY 1
        LIMIT 1
    ),
    -- The schema in which a query finds the tables of this package; NULL when it misses one, or finds them in several.
    (
        SELECT CASE WHEN count(*) = count(n.oid) AND count(DISTINCT n.oid) = 1 THEN min(n.nspname::text) END
        FROM unnest(ARRAY[
            'users', 'api_keys', 'agents', 'agent_wallets', 'agent_balances', 'agent_balance_snapshots',
            'agent_positions', 'agent_transactions', 'agent_historical_swaps', 'trading_signals', 'signal_executions',
            'trade_requests', 'cache_outbox'
        ]) AS ours (name)
        LEFT JOIN pg_class AS c ON c.oid = to_regclass(ours.name)
        LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
    ),
    EXISTS (SELECT FROM pg_extension WHERE extname = 'citus'),
    session_user::text
FROM pg_roles AS me
WHERE me.rolname = current_user
"""

# Queries run on shards, whose policies the catalog of another node does not show.
_DISTRIBUTED: Final = b"""
SELECT n.nspname::text
FROM pg_catalog.pg_dist_partition AS d
JOIN pg_class AS c ON c.oid = d.logicalrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(current_schemas(false))
ORDER BY 1
LIMIT 1
"""

_OPEN_TO_ALL: Final = b"""
SELECT CASE WHEN c.relnamespace = quote_ident(current_schema())::regnamespace THEN '' ELSE n.nspname || '.' END
    || c.relname
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(current_schemas(false))
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND c.relname !~ '^(_yoyo_|yoyo_lock$|_nexgent_)' -- which migrations were applied
    AND NOT EXISTS ( -- an extension's
        SELECT FROM pg_depend AS d
        WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
    )
    AND (has_any_column_privilege(c.oid, 'SELECT, UPDATE') OR has_table_privilege(c.oid, 'DELETE'))
    AND NOT (
        row_security_active(c.oid)
        AND EXISTS (
            SELECT
            FROM pg_policy AS p, unnest(p.polroles) AS kept
            WHERE p.polrelid = c.oid
                AND NOT p.polpermissive
                AND p.polcmd = '*'
                AND kept <> 0
                AND pg_has_role(kept, 'USAGE')
        )
    )
ORDER BY c.relnamespace <> quote_ident(current_schema())::regnamespace, 1
"""
