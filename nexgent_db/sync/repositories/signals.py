# Generated from nexgent_db/aio/repositories/signals.py by `make sync`: do not edit.
"""Signals: ``sql/signals.sql``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from nexgent_db.models.base import MANY, Limit, LongText, TokenAddress, columns_of, list_of
from nexgent_db.models.filters import SignalFilter
from nexgent_db.models.pages import BeforeNumber, Page, decode_cursor, make_page, one_more_than
from nexgent_db.models.signals import (
    EligibleAgent,
    SignalOrder,
    SignalSource,
    SignalStrength,
    SignalSymbol,
    SignalType,
    TradingSignal,
)
from nexgent_db.queries.binding import query
from nexgent_db.queries.values import NOT_GIVEN, NotGiven
from nexgent_db.sync.repositories.base import Repository
from nexgent_db.sync.turns import in_turns

_ANY: Final = SignalFilter()
_START: Final = BeforeNumber()

_COLUMNS: Final = attrgetter("token_address", "symbol", "signal_type", "activation_reason", "signal_strength", "source")
_Many: Final = Field(max_length=MANY)


class SignalRepository(Repository, sql="signals"):
    """Suggestions to trade a token, each of one user."""

    @query
    def find_by_id(self, signal_id: int) -> TradingSignal | None:
        """The signal of this id."""
        ...

    @query
    def create(self, order: SignalOrder) -> TradingSignal:
        """Create a signal. Raises ForeignKeyViolation when there is no such user."""
        ...

    def create_many_of(self, user_id: UUID | None, orders: Sequence[SignalOrder]) -> list[TradingSignal]:
        """Create up to 10,000 signals of one user in one statement, in the order given; all of them or none.

        Ignores the orders' own ``user_id``. Raises InvalidInput for more than 10,000, ForeignKeyViolation when there is
        no such user.
        """
        list_of(SignalOrder, orders, "orders")
        rows = in_turns(_COLUMNS, orders)
        return self.create_many(user_id, *columns_of(rows, 6))

    @query
    def create_many(
        self,
        user_id: UUID | None,
        token_addresses: Annotated[list[TokenAddress], _Many],
        symbols: Annotated[list[SignalSymbol | None], _Many],
        signal_types: Annotated[list[SignalType], _Many],
        activation_reasons: Annotated[list[LongText | None], _Many],
        signal_strengths: Annotated[list[SignalStrength], _Many],
        sources: Annotated[list[SignalSource | None], _Many],
    ) -> list[TradingSignal]:
        """The same with a list for each column, all of one length."""
        ...

    @query
    def update(
        self,
        signal_id: int,
        token_address: TokenAddress | NotGiven = NOT_GIVEN,
        symbol: SignalSymbol | NotGiven | None = NOT_GIVEN,
        signal_type: SignalType | NotGiven = NOT_GIVEN,
        activation_reason: LongText | NotGiven | None = NOT_GIVEN,
        signal_strength: SignalStrength | NotGiven = NOT_GIVEN,
        source: SignalSource | NotGiven | None = NOT_GIVEN,
    ) -> TradingSignal | None:
        """Update the given columns, and ``updated_at``; None when there is no such signal.

        None as a value removes a symbol, an activation reason or a source. The owner stays.
        """
        ...

    @query
    def list_by_user(
        self, user_id: UUID, filter: SignalFilter = _ANY, before: BeforeNumber = _START, limit: Limit | None = None
    ) -> list[TradingSignal]:
        """The user's signals, newest first; those after the key ``before`` when it is given.

        Raises ListTooLong without a limit, for more than 10,000 signals.
        """
        ...

    def page_by_user(
        self, user_id: UUID, filter: SignalFilter = _ANY, limit: Limit = 100, cursor: str | None = None
    ) -> Page[TradingSignal]:
        """A page of the user's signals, newest first: the first page, or the one of the ``cursor``.

        Raises InvalidInput for a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        before = decode_cursor(cursor, "signals", BeforeNumber)
        rows = self.list_by_user(user_id, filter, before, one_more_than(limit))
        return make_page(rows, limit, "signals", "created_at")

    @query
    def stream_by_user(self, user_id: UUID, filter: SignalFilter = _ANY) -> Iterator[TradingSignal]:
        """All of the user's signals, newest first, in constant memory; keeps a connection to its end."""
        ...

    @query
    def count_by_user(self, user_id: UUID, filter: SignalFilter = _ANY) -> int:
        """The number of the user's signals."""
        ...

    @query
    def list_eligible_agents(self, signal_id: int, limit: Limit | None = None) -> list[EligibleAgent]:
        """The agents that may act on this signal.

        These are the creator's agents whose automated trading is on in their trading mode and that have no execution of
        it. Raises ListTooLong without a limit, for more than 10,000 agents.
        """
        ...

    @query
    def delete(self, signal_id: int) -> int:
        """Delete the signal with its executions; 0 when there is no such signal.

        Transactions and historical swaps that name it stay; their ``signal_id`` becomes None.
        """
        ...
