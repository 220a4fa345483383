# Generated from nexgent_db/aio/__init__.py by `make sync`: do not edit.
"""The synchronous data layer. ``make sync`` writes ``nexgent_db/sync`` from ``nexgent_db/aio``.

A service's own repositories begin here: ``Repository`` and ``query``, used with :meth:`Database.use`.
"""

from nexgent_db.queries.adhoc import Executed
from nexgent_db.queries.own import query
from nexgent_db.sync.repositories.base import Repository

__all__ = ["Executed", "Repository", "query"]
