# Generated from nexgent_db/aio/schema.py by `make sync`: do not edit.
"""Asks whether the database has the schema that this release was written for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nexgent_db.errors import SchemaNotReady
from nexgent_db.models.migrations import AppliedMigration
from nexgent_db.queries.adhoc import ad_hoc
from nexgent_db.queries.binding import query
from nexgent_db.schema.version import ensure_release_schema
from nexgent_db.sync.repositories.base import Repository
from nexgent_db.sync.session import Session

__all__ = ["assert_schema"]

_MOST: Final = 10_000


class _Migrations(Repository, sql="migrations"):
    @query
    def list_applied(self, limit: int) -> list[AppliedMigration]:
        """Every migration that the database has."""
        ...


def assert_schema(session: Session, migrations: Mapping[str, Path], *, may_be_newer: bool = False) -> None:
    """In one round trip, those of a service's folders too; see ensure_release_schema(). Raises SchemaNotReady."""
    applied = _Migrations(session).list_applied(_MOST)
    ensure_release_schema(applied, migrations, may_be_newer=may_be_newer)


def explain_cell(session: Session, schema: str | None, error: SchemaNotReady) -> SchemaNotReady:
    """The error with the name of the cell, if it is about one, and whether there is such a schema."""
    if schema is None:
        return error
    statement = ad_hoc("SELECT to_regnamespace(quote_ident(:schema)) IS NULL AS missing", "schema_exists")
    rows = session.run(statement, statement.call_with({"schema": schema}))
    if rows[0]["missing"]:
        error.args = (f"there is no schema {schema}: create the cell first (nexgent-db cells create)",)
    elif not str(error).startswith("schema "):
        error.args = (f"schema {schema}: {error}",)
    return error
