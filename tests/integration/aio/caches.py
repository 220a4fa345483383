"""The cache of a database that many tests share."""

from __future__ import annotations

from nexgent_db import AsyncDatabase


async def catch_up(db: AsyncDatabase) -> None:
    """Relay what other tests have left in the outbox: opening the database does so for one second at most, and until it
    is done, every read goes to PostgreSQL."""
    while not await db.cache._recovery.recover():
        pass
