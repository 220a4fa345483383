"""Tenants: each transaction names its user, and row-level security shows it only the rows of that user.

The setting is local to the transaction, so the next caller of a pooled connection does not inherit it. It works only
with the policies of ``sql/roles.sql``, so opening a database checks them first.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from nexgent_db.aio.connection import connect
from nexgent_db.errors import TenantNotIsolated, translate
from nexgent_db.settings import Settings, libpq_parameters


async def tenant_settings(settings: Settings) -> Settings:
    """Settings whose sessions see one user at a time: the given ones, if necessary with the tenants' role.

    Raises TenantNotIsolated, and what connecting raises.
    """
    user, role, open_to_all = await _visible(settings)
    if open_to_all and role is not None:
        settings = replace(settings, conninfo=_with_role(role, settings.conninfo))
        actual, _, open_to_all = await _visible(settings)
        if open_to_all and actual != role:
            raise TenantNotIsolated(
                f"new sessions have the role {actual}, not {role}: a pooler drops the start-up options;"
                f" log in as {role}"
            )
    if open_to_all:
        more = f" and {len(open_to_all) - 3} tables more" if len(open_to_all) > 3 else ""
        raise TenantNotIsolated(
            f"{role or user} sees all users' rows in {', '.join(open_to_all[:3])}{more}: make the roles"
            " (nexgent-db roles apply), and connect as the one for services or for tenants"
        )
    return settings


async def _visible(settings: Settings) -> tuple[str, str | None, list[str]]:
    """The role of a new session, the tenants' role that it may become, and the tables whose rows it sees all.

    Raises TenantNotIsolated for a role that is exempt from row-level security, and what connecting raises.
    """
    connection = await connect(settings)
    try:
        exempt, role, user = await _one(connection, _WHO)
        if exempt:
            raise TenantNotIsolated(f"{user} is exempt from row-level security: log in as another role")
        return user, role, await _open_to_all(connection)
    except psycopg.Error as error:
        raise translate(error) from error
    finally:
        await connection.close()


async def _one(connection: AsyncConnection[Any], query: bytes) -> Any:
    return await (await connection.execute(query)).fetchone()


async def _open_to_all(connection: AsyncConnection[Any]) -> list[str]:
    """The tables that the session can use and whose policies do not limit it to one user."""
    return [name for (name,) in await (await connection.execute(_OPEN_TO_ALL)).fetchall()]


def _with_role(role: str, conninfo: str) -> str:
    given = libpq_parameters(conninfo).get("options", "")
    option = "-crole=" + re.sub(r"([\\\s])", r"\\\1", role)  # white space would end the option
    return make_conninfo(conninfo, options=f"{given} {option}".strip())


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
