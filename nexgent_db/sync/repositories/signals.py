# Generated from nexgent_db/aio/repositories/signals.py by `make sync`: do not edit.
"""Signals: ``sql/signals.sql``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from nexgent_db.binding import query
from nexgent_db.models._base import MANY, Limit, LongText, TokenAddress, list_of
from nexgent_db.models.filters import SignalFilter
from nexgent_db.models.pages import BeforeNumber, Page, one_more_than, page_of, place_of
from nexgent_db.models.signals import (
    EligibleAgent,
    SignalOrder,
    SignalSource,
    SignalStrength,
    SignalSymbol,
    SignalType,
    TradingSignal,
)
from nexgent_db.sync._repository import Repository

_ANY: Final = SignalFilter()
_START: Final = BeforeNumber()

_Many: Final = Field(max_length=MANY)


class SignalRepository(Repository, sql="signals"):
    """Suggestions to trade, each of one user."""

    @query
    def find_by_id(self, signal_id: int) -> TradingSignal | None:
        """The signal of this id."""
        ...

    @query
    def create(self, order: SignalOrder) -> TradingSignal:
        """A new signal. Raises ForeignKeyViolation when there is no such user."""
        ...

    def create_many_of(self, user_id: UUID | None, orders: Sequence[SignalOrder]) -> list[TradingSignal]:
        """New signals of one user, up to 10,000 in one statement, in the order given; all of them or none.

        The orders' own ``user_id`` is not looked at. Raises InvalidInput for more, ForeignKeyViolation when there is
        no such user.
        """
        list_of(SignalOrder, orders, "orders")
        return self.create_many(
            user_id,
            [order.token_address for order in orders],
            [order.symbol for order in orders],
            [order.signal_type for order in orders],
            [order.activation_reason for order in orders],
            [order.signal_strength for order in orders],
            [order.source for order in orders],
        )

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
    def list_by_user(
        self, user_id: UUID, filter: SignalFilter = _ANY, before: BeforeNumber = _START, limit: Limit = 100
    ) -> list[TradingSignal]:
        """The user's signals, newest first, from the given place on."""
        ...

    def page_by_user(
        self, user_id: UUID, filter: SignalFilter = _ANY, limit: Limit = 100, cursor: str | None = None
    ) -> Page[TradingSignal]:
        """A page of the user's signals, newest first: the first one, or the one of a page's ``next``.

        Raises InvalidInput for a cursor that is none of this list's, then for a limit outside of 1 to 9,999.
        """
        before = place_of(cursor, "signals", BeforeNumber)
        rows = self.list_by_user(user_id, filter, before, one_more_than(limit))
        return page_of(rows, limit, "signals", "created_at")

    @query
    def stream_by_user(self, user_id: UUID, filter: SignalFilter = _ANY) -> Iterator[TradingSignal]:
        """All of the user's signals, newest first, in constant memory; it holds a connection until its end."""
        ...

    @query
    def count_by_user(self, user_id: UUID, filter: SignalFilter = _ANY) -> int:
        """How many signals the user has."""
        ...

    @query
    def list_eligible_agents(self, signal_id: int, limit: Limit = 1000) -> list[EligibleAgent]:
        """The agents that act on this signal: its creator's, automated in their mode, without an execution so far."""
        ...

    @query
    def delete(self, signal_id: int) -> int:
        """Delete the signal with its executions; 0 when there is none. Transactions that name it stay."""
        ...
