"""Unexpected answers: another number of rows than promised, values that cannot be read."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.errors.base import NexgentError
from nexgent_db.errors.database import DatabaseError

__all__ = [
    "AnswerTooLong",
    "CommittedButUnread",
    "ListTooLong",
    "NoRow",
    "RowCountError",
    "TooManyRows",
    "UnreadableValue",
]


class UnreadableValue(DatabaseError):
    """The database holds a value that Python has no form for: ``infinity``, or a time outside of the years 1 to 9999.

    ``query``, ``table`` and ``column`` say where; ``table`` is None for a value that is computed. The message does not
    repeat the value, the driver's error is the ``__cause__``.

    Nothing was changed; let the error leave the transaction. Repair the value in the database, then retry.
    """

    def __init__(self, query: str, column: str | None, problem: str, table: str | None = None) -> None:
        of = "" if table is None else f" of table {table}"
        where = problem if column is None else f"column {column}{of} holds a value that Python has no form for"
        super().__init__(f"{query}: {where}")
        self.query = query
        self.column = column
        self.table = table


class AnswerTooLong(DatabaseError):
    """The server's answer is longer than about ``max_bytes`` (``NEXGENT_DB_MAX_ANSWER_MIB``); the connection is closed.

    Inside a transaction nothing was changed; a single statement that writes may have taken effect. Never retry: read
    fewer rows at a time, or as a stream, or raise the limit.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the answer is longer than {max_bytes:,} bytes, the limit of NEXGENT_DB_MAX_ANSWER_MIB")
        self.max_bytes = max_bytes


class CommittedButUnread(NexgentError):
    """The write was committed, but what it returned could not be read or passed on.

    ``request_id`` is the trade's, None for other writes. The failure is the ``__cause__``: UnreadableValue for a value
    without a form in Python, RowCountError for more or fewer rows than promised. To read a trade's first result, repair
    the value, in the row and in ``trade_requests.position_values``, and send the same order again;
    ``trade_requests.list_by_ids`` shows at once that it was made. Whether a statement writes is judged by its text, and
    in doubt it counts as a write.

    The write was committed. Never retry it as a new order; alarm.
    """

    def __init__(self, query: str, request_id: UUID | None, problem: str) -> None:
        order = "" if request_id is None else f" of order {request_id}"
        super().__init__(f"{query}{order} was committed, but its result could not be read: {problem}")
        self.query = query
        self.request_id = request_id


class RowCountError(NexgentError):
    """A query that promises a number of rows returned another one.

    Outside of a transaction a write may have taken effect. Never retry: the query or the data are at fault.
    """

    def __init__(self, query: str, promised: str, found: str) -> None:
        super().__init__(f"{query} promises {promised}, but returned {found}")
        self.query = query


class NoRow(RowCountError):
    """A ``:one`` query returned no row.

    Nothing was changed. Never retry: the row does not exist, or is another user's.
    """

    http_status = 404


class TooManyRows(RowCountError):
    """A ``:one`` or ``:optional`` query returned two rows or more."""


class ListTooLong(NexgentError):
    """A list was asked for without a limit, and has more rows than ``bound``; ``query`` names it. No part is returned.

    Nothing was changed. Never retry: read the list page by page or as a stream, filter it, or give a limit.
    """

    http_status = 400

    def __init__(self, query: str, bound: int) -> None:
        super().__init__(
            f"{query}: there are more than {bound:,} rows, the most that a list without a limit returns:"
            " read it page by page or as a stream, filter it, or give a limit"
        )
        self.query = query
        self.bound = bound
