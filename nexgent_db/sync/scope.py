# Generated from nexgent_db/aio/scope.py by `make sync`: do not edit.
"""Scopes: the cell and the user of a database object, which each of its transactions sets for itself.

A cell is a schema with all tables of its users. Cell and user are settings that are local to a transaction, so one pool
serves every cell and every user, and calls for all users beside them. They travel with the first statement: a single
query stays one round trip.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

from psycopg import sql

from nexgent_db.queries.binding import BoundQuery, Call
from nexgent_db.sync.tenant import Tenant, TenantRole

if TYPE_CHECKING:
    from nexgent_db.sync.connection import PooledConnection


@dataclass(frozen=True, slots=True)
class RowScope:
    """Whose rows a database object serves: those of one cell, or of the connection's own schema; of one user, or all.

    ``role`` is the tenants' role of this cell, found by its first tenant.
    """

    role: TenantRole
    schema: str | None = None
    tenant: Tenant | None = None
    trades: dict[bytes, bytes] = field(default_factory=dict, compare=False, repr=False)
    """The texts of trades that name the function with its schema."""

    @classmethod
    def of(cls, schema: str | None, role: TenantRole, user_id: UUID | None) -> RowScope:
        """The scope of a cell and a user. Raises InvalidInput for an id that is no UUID."""
        return cls(role, schema, None if user_id is None else Tenant(user_id, role))

    def for_tenant(self, user_id: UUID) -> RowScope:
        """The same cell, for one user. Raises InvalidInput for an id that is no UUID."""
        return replace(self, tenant=Tenant(user_id, self.role))

    def enter(self, connection: PooledConnection) -> ScopeSettings | None:
        """Begin to use a connection: what its next transaction has to set, None when that is nothing.

        From here to its release, the connection prepares and finds statements of this cell alone. Raises, for the first
        tenant of a cell, what :meth:`TenantRole.name` raises.
        """
        connection.prepared.enter(self.schema)
        values = {} if self.schema is None else {"search_path": search_path(self.schema)}
        if self.tenant is not None:
            role = self.role.name(connection)
            values |= {"nexgent.user_id": str(self.tenant.user_id), "role": role}
        return ScopeSettings(tuple(values.items())) if values else None

    def own_call(self, bound: BoundQuery, call: Call) -> Call | None:
        """The call of a trade of this cell that needs no settings; None for any other call.

        A trade's text has one name that the search path decides, that of its function, whose own path is pinned. With
        the schema before it, the statement is alone in its transaction, so Citus sends it whole to the cell's node.
        """
        if self.schema is None or self.tenant is not None or bound.query.file != "trades":
            return None
        text = self.trades.get(call.text)
        if text is None:
            prefix = search_path(self.schema).encode() + b"."
            text, count = _FUNCTION.subn(lambda found: found[1] + prefix, call.text)
            if count != 1:
                return None
            self.trades[call.text] = text
        return call._replace(text=text)


@dataclass(frozen=True, slots=True)
class ScopeSettings:
    """The settings of one transaction, in the order in which they are set."""

    values: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """A statement that sets them, with a parameter for each value."""
        return _TEXTS[tuple(name for name, _ in self.values)]

    @property
    def parameters(self) -> list[str]:
        """The parameters of ``text``."""
        return [value for _, value in self.values]

    @property
    def statement(self) -> bytes:
        """The statement with its parameters."""
        calls = [sql.SQL("set_config({}, {}, true)").format(name, value) for name, value in self.values]
        return (sql.SQL("SELECT ") + sql.SQL(", ").join(calls)).as_bytes()


def search_path(schema: str) -> str:
    """The search path of a cell: its schema alone, as ``?schema=`` in DATABASE_URL sets it."""
    return '"' + schema.replace('"', '""') + '"'


def _text(names: tuple[str, ...]) -> str:
    return "SELECT " + ", ".join(f"set_config('{name}', ${number}, true)" for number, name in enumerate(names, 1))


_FUNCTION: Final = re.compile(rb"(\bFROM\s+)(?=[a-z_]+_v[0-9]+\()")
_CELL: Final = ("search_path",)
_TENANT: Final = ("nexgent.user_id", "role")
_TEXTS: Final[dict[tuple[str, ...], str]] = {names: _text(names) for names in (_CELL, _TENANT, _CELL + _TENANT)}
