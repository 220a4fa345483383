"""The cache and its locks."""

from __future__ import annotations

from nexgent_db.errors.base import NexgentError

__all__ = [
    "CacheUnreachable",
    "LockLost",
    "LockNotAcquired",
]


class CacheUnreachable(NexgentError):
    """Redis or Valkey cannot be used, and the caller asked for the cache itself. Reads and trades never raise this.

    A part of the call may have taken effect in the cache. Retry later; PostgreSQL is not affected.
    """

    http_status = 503


class LockNotAcquired(NexgentError):
    """A lock was not granted; ``reason`` says whether another holder has it, or Redis is away.

    Nothing was changed. Retry later.
    """

    http_status = 409

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(f"lock {resource!r} was not acquired: {reason}")
        self.resource = resource
        self.reason = reason


class LockLost(NexgentError):
    """A lock was lost, or its lease could not be extended; ``reason`` says why.

    What was done under it may have taken effect beside another holder's work. Never retry before reading it again.
    """

    http_status = 409

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(f"lock {resource!r} was lost: {reason}")
        self.resource = resource
        self.reason = reason
