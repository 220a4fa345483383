"""Verifies, on a new connection, that the database is still the one that the caches of its schemas belong to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nexgent_db.aio.cache.writer import CacheWriter
from nexgent_db.aio.connection import PooledConnection
from nexgent_db.aio.scope import RowScope
from nexgent_db.aio.session import TransactionSession


async def verify_databases(
    connection: PooledConnection, whole: CacheWriter, cells: Iterable[tuple[RowScope, CacheWriter]]
) -> None:
    """Compare the schema of the connection, and each cell, with what its cache holds. Never raises for a cache.

    A Redis that does not answer costs one short timeout, not one for each cell: the caches of the others are closed
    until the search for Redis has verified them.
    """
    await whole.verify_database(TransactionSession(connection))
    for scope, writer in cells:
        if not writer.answers:
            continue  # it is verified before it is used again
        if not whole.answers:
            writer.distrust_database()
            continue
        settings = await replace(scope, tenant=None).enter(connection)
        assert settings is not None
        try:
            async with connection.transaction():
                await connection.execute(settings.statement)
                await writer.verify_database(TransactionSession(connection))
        finally:
            connection.prepared.enter(None)
