"""Asks the server for a statement's parameters, columns and parse tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq

from nexgent_db.contract._catalog import ServerCatalog
from nexgent_db.contract._expressions import last_query
from nexgent_db.contract._nodes import Node

__all__ = ["Described", "Refused", "Server"]


@dataclass(frozen=True, slots=True)
class Described:
    """A column as ``PQdescribePrepared`` describes it."""

    name: str
    type: int
    modifier: int
    table: int
    table_column: int


class Refused(Exception):
    """The database refused a statement."""

    def __init__(self, message: str, position: int | None) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


class Server:
    """Describes and parses statements, inside the transaction that is open on the connection. Executes none."""

    def __init__(self, connection: psycopg.Connection[Any], catalog: ServerCatalog) -> None:
        self._connection = connection
        self._catalog = catalog
        connection.execute("SAVEPOINT described")

    def describe(self, text: str, types: Sequence[int]) -> tuple[list[int], list[Described]]:
        """The types of parameters and columns. Raises Refused."""
        link = self._connection.pgconn
        result = link.prepare(b"", text.encode(), types)
        if result.status == pq.ExecStatus.FATAL_ERROR:
            message = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode()
            hint = (result.error_field(pq.DiagnosticField.MESSAGE_HINT) or b"").decode()
            position = result.error_field(pq.DiagnosticField.STATEMENT_POSITION)
            self._connection.execute("ROLLBACK TO described")
            raise Refused(f"{message} ({hint})" if hint else message, int(position) if position else None)
        described = link.describe_prepared(b"")
        parameters = [described.param_type(place) for place in range(described.nparams)]
        columns = [
            Described(
                (described.fname(place) or b"").decode(),
                described.ftype(place),
                described.fmod(place),
                described.ftable(place),
                described.ftablecol(place),
            )
            for place in range(described.nfields)
        ]
        return parameters, columns

    def parse(self, text: str, types: Sequence[int], *, has_rows: bool) -> Node:
        """The statement's parse tree. Raises Refused for a statement that no function may contain."""
        arguments = ", ".join(self._catalog.sql_name(oid) for oid in types)
        returns = "SETOF record" if has_rows else "void"
        try:
            self._connection.execute(
                f"CREATE FUNCTION pg_temp.checked({arguments}) RETURNS {returns} BEGIN ATOMIC\n{text}\n;\nEND"
            )
        except psycopg.Error as error:
            self._connection.execute("ROLLBACK TO described")
            raise Refused(error.diag.message_primary or str(error), None) from None
        row = self._connection.execute(
            "SELECT prosqlbody::text FROM pg_proc WHERE proname = 'checked' AND pronamespace = pg_my_temp_schema()"
        ).fetchone()
        self._connection.execute("ROLLBACK TO described")
        query = last_query(row[0]) if row else None
        if query is None:
            raise Refused("it cannot be parsed as the body of a function", None)
        return query
