"""The asynchronous data layer. ``make sync`` writes ``nexgent_db/sync`` from ``nexgent_db/aio``.

A service's own repositories begin here: ``Repository`` and ``query``, used with :meth:`AsyncDatabase.use`.
"""

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.queries.adhoc import Executed
from nexgent_db.queries.own import query

__all__ = ["Executed", "Repository", "query"]
