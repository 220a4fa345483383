# Generated from nexgent_db/aio/transaction.py by `make sync`: do not edit.
"""An open transaction: the repositories on its connection, and savepoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import Connection

from nexgent_db.errors import BlockMisuse, translate
from nexgent_db.observe._event import Hooks
from nexgent_db.sync.access import Repositories
from nexgent_db.sync.connection import PooledConnection
from nexgent_db.sync.observed import ObservedSession
from nexgent_db.sync.session import TransactionSession

if TYPE_CHECKING:
    from nexgent_db.sync.database import Database

__all__ = ["Transaction"]


class Transaction(Repositories):
    """An open transaction. Its calls are committed together, or not at all."""

    def __init__(self, connection: PooledConnection, hooks: Hooks, around: TransactionSession | None = None) -> None:
        self._connection = connection
        self._hooks = hooks
        self._plain_session = TransactionSession(connection, around)
        self._session = (
            ObservedSession(self._plain_session, hooks, in_transaction=True) if hooks else self._plain_session
        )
        self._database: Database | None = None
        super().__init__(self._session)

    def _is_of(self, database: Database, caller: object) -> bool:
        """Is this an open transaction of ``database`` that ``caller`` was the last to use?"""
        return self._database is database and not self._plain_session.ended and self._connection.last_caller is caller

    @property
    def connection(self) -> Connection[tuple[object, ...]]:
        """The transaction's connection, for what psycopg can do besides statements: COPY, a cursor of your own.

        It bypasses names, hooks, checked arguments and this package's errors: its own are psycopg's, until one leaves
        the transaction. The tenant's row-level security holds, and the cache follows what is written here; for that
        the transaction's changes are read before its COMMIT. Do not commit, roll back, close or keep it, and leave its
        settings as they are. Raises BlockMisuse after the end of the transaction.
        """
        if self._plain_session.ended:
            raise BlockMisuse("the transaction has ended")
        self._plain_session.expect_changes()
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A savepoint: an error that leaves the inner transaction undoes only the inner transaction."""
        if self._plain_session.ended:
            raise BlockMisuse("the transaction has ended")
        inner = Transaction(self._connection, self._hooks, self._plain_session)
        try:
            with self._connection.transaction():
                yield inner
            self._plain_session.duplicates += inner._plain_session.duplicates
        except psycopg.Error as error:
            raise translate(error, read_only=bool(self._connection.read_only)) from error
        finally:
            inner._plain_session.ended = True
