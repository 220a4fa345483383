# Generated from nexgent_db/aio/prepared.py by `make sync`: do not edit.
"""Prepared statements of a connection that serves many cells.

The server looks the names of a prepared statement up again when the search path is another. The types of its
parameters and columns stay those that it was prepared with, and each change of the cell would cost a plan.
"""

from __future__ import annotations

from psycopg._preparing import PrepareManager
from psycopg._queries import PostgresQuery


class PreparedBySchema(PrepareManager):
    """The driver's prepared statements, but those of one cell are never used for another."""

    def __init__(self) -> None:
        super().__init__()
        self.schema: str | None = None
        """The schema that the connection is used for; None: the first of its own search path."""
        self._prefix = b""

    def enter(self, schema: str | None) -> None:
        """Prepare and find the statements of this schema."""
        self.schema = schema
        self._prefix = b"" if schema is None else schema.encode() + b"\0"

    def key(self, query: PostgresQuery) -> tuple[bytes, tuple[int, ...]]:  # type: ignore[override]  # static there
        """The key of a query: the schema in which its names are looked up, its text, and its types."""
        return self._prefix + query.query, query.types
