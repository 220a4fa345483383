# Generated from nexgent_db/aio/observed.py by `make sync`: do not edit.
"""Sessions that report every query to hooks. Without hooks, no query passes through this module."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Final

import psycopg

from nexgent_db.errors import translate
from nexgent_db.models.trades import ResetOutcome, TradeOutcome
from nexgent_db.observe._event import Hooks, QueryEvent
from nexgent_db.queries.binding import BoundQuery, Call
from nexgent_db.queries.statement import Cardinality
from nexgent_db.sync.session import Session

COMMIT: Final = "transaction.commit"
"""The name of a COMMIT in its event."""


class ObservedSession(Session):
    """Runs queries on another session and reports each to the hooks, whether it succeeds or fails."""

    def __init__(self, session: Session, hooks: Hooks, *, in_transaction: bool) -> None:
        self._session = session
        self.duplicates = session.duplicates
        self._hooks = hooks
        self._in_transaction = in_transaction

    def run(self, bound: BoundQuery, call: Call) -> Any:
        """Run one statement and report it."""
        started = time.perf_counter()
        try:
            result = self._session.run(bound, call)
        except BaseException as error:
            self._report(bound, started, None, error)
            raise
        self._report(bound, started, _rows(bound, result), None, _outcome(result))
        return result

    def run_many(self, calls: Sequence[tuple[BoundQuery, Call]], answers: list[Any]) -> None:
        """Run statements together and report each; the durations are those of all up to it."""
        started = time.perf_counter()
        try:
            self._session.run_many(calls, answers)
        except BaseException as error:
            failed = calls[min(len(answers), len(calls) - 1)][0]
            self._report(failed, started, None, error)
            raise
        for (bound, _), answer in zip(calls, answers, strict=True):
            self._report(bound, started, _rows(bound, answer), None, _outcome(answer))

    def stream(self, bound: BoundQuery, call: Call) -> Generator[Any, None, None]:
        """Stream rows and report them once, at the end."""
        started = time.perf_counter()
        rows = 0
        try:
            with closing(self._session.stream(bound, call)) as stream:
                for row in stream:
                    rows += 1
                    yield row
        except GeneratorExit:  # the caller stops before the last row
            self._report(bound, started, rows, None)
            raise
        except BaseException as error:
            self._report(bound, started, None, error)
            raise
        self._report(bound, started, rows, None)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction, whose statements this session reports too."""
        with self._session.transaction() as session:
            yield self if session is self._session else session

    def _report(
        self,
        bound: BoundQuery,
        started: float,
        rows: int | None,
        error: BaseException | None,
        outcome: str | None = None,
    ) -> None:
        self._hooks(QueryEvent(bound.name, time.perf_counter() - started, rows, error, self._in_transaction, outcome))


def _outcome(result: Any) -> str | None:
    """A trade's outcome, which stands before its rows."""
    while isinstance(result, list | tuple) and result:
        result = result[0]
    return result.outcome if isinstance(result, TradeOutcome | ResetOutcome) else None


def _rows(bound: BoundQuery, result: Any) -> int | None:
    match bound.query.cardinality:
        case Cardinality.MANY:
            return len(result)
        case Cardinality.OPTIONAL:
            return 0 if result is None else 1
        case Cardinality.ONE:
            return 1
        case Cardinality.ROWS:
            affected: int = result
            return affected
        case _:
            return None


@contextmanager
def observed_commit(transaction: AbstractContextManager[object], hooks: Hooks) -> Iterator[None]:
    """The transaction; reports its COMMIT to the hooks. Raises a DatabaseError when COMMIT fails."""
    started: float | None = None
    try:
        with transaction:
            yield
            started = time.perf_counter()
    except BaseException as error:
        if started is None:  # the transaction failed, not its COMMIT
            raise
        reported = translate(error) if isinstance(error, psycopg.Error) else error
        hooks(QueryEvent(COMMIT, time.perf_counter() - started, None, reported, in_transaction=True))
        if reported is error:
            raise
        raise reported from error
    if started is not None:
        hooks(QueryEvent(COMMIT, time.perf_counter() - started, None, None, in_transaction=True))
