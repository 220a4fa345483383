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

from nexgent_db.poolers import TransactionSettings
from nexgent_db.queries.binding import BoundQuery, Call
from nexgent_db.sync.tenant import Tenant, verify_isolation

if TYPE_CHECKING:
    from nexgent_db.sync.connection import PooledConnection


@dataclass(frozen=True, slots=True)
class RowScope:
    """Whose rows a database object serves: of one cell, or of the connection's own schema; of one user, or of all."""

    schema: str | None = None
    tenant: Tenant | None = None
    trades: dict[bytes, bytes] = field(default_factory=dict, compare=False, repr=False)
    """The texts of trades that name the function with its schema."""

    @classmethod
    def of(cls, schema: str | None, user_id: UUID | None) -> RowScope:
        """The scope of a cell and a user. Raises InvalidInput for an id that is no UUID."""
        return cls(schema, None if user_id is None else Tenant(user_id))

    def for_tenant(self, user_id: UUID) -> RowScope:
        """The same cell, for one user. Raises InvalidInput for an id that is no UUID."""
        return replace(self, tenant=Tenant(user_id))

    @property
    def path(self) -> str | None:
        """The search path of the cell; None for the session's own."""
        return None if self.schema is None else search_path(self.schema)

    def enter(self, connection: PooledConnection) -> TransactionSettings | None:
        """Begin to use a connection: what its next transaction has to set, None when that is nothing.

        From here to its release, the connection prepares and finds statements of this cell alone. Raises, for the first
        tenant of a cell on a connection, what :func:`verify_isolation` raises.
        """
        connection.prepared.enter(self.schema)
        if self.tenant is not None:
            return self.tenant.settings(connection, self.path)
        return None if self.path is None else TransactionSettings({"search_path": self.path})

    def verify(self, connection: PooledConnection) -> None:
        """Ask the server anew whether this connection shows a tenant one user's rows: the scope's, if it has one.

        Raises what :func:`verify_isolation` raises, then TenantNotIsolated when the login acts for another user alone.
        """
        verify_isolation(connection, self.path)
        if self.tenant is not None:
            self.tenant.settings(connection, self.path)

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


def search_path(schema: str) -> str:
    """The search path of a cell: its schema alone, as ``?schema=`` in DATABASE_URL sets it."""
    return '"' + schema.replace('"', '""') + '"'


_FUNCTION: Final = re.compile(rb"(\bFROM\s+)(?=[a-z_]+_v[0-9]+\()")
