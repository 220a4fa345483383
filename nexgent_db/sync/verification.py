# Generated from nexgent_db/aio/verification.py by `make sync`: do not edit.
"""Verifies, on a new connection, that the database is still the one that the caches of its schemas belong to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nexgent_db.sync.cache.writer import CacheWriter
from nexgent_db.sync.connection import PooledConnection
from nexgent_db.sync.scope import RowScope
from nexgent_db.sync.session import TransactionSession


def verify_databases(
    connection: PooledConnection, whole: CacheWriter, cells: Iterable[tuple[RowScope, CacheWriter]]
) -> None:
    """Compare the schema of the connection, and each cell, with what its cache holds. Never raises for a cache.

    A Redis that does not answer costs one short timeout, not one for each cell: the caches of the others are closed
    until the search for Redis has verified them.
    """
    whole.verify_database(TransactionSession(connection))
    for scope, writer in cells:
        if not writer.answers:
            continue  # it is verified before it is used again
        if not whole.answers:
            writer.distrust_database()
            continue
        settings = replace(scope, tenant=None).enter(connection)
        assert settings is not None
        try:
            with connection.transaction():
                connection.execute(settings.statement)
                writer.verify_database(TransactionSession(connection))
        finally:
            connection.prepared.enter(None)
