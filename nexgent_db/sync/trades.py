# Generated from nexgent_db/aio/trades.py by `make sync`: do not edit.
"""Trades: each one atomic statement of ``sql/trades.sql``, alone or inside a block."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from nexgent_db.binding import query
from nexgent_db.errors import UniqueViolation
from nexgent_db.models._base import WalletAddress
from nexgent_db.models.trades import (
    BurnOrder,
    BuyOrder,
    DcaBuyOrder,
    DepositOrder,
    LedgerEntry,
    ResetResult,
    ResetWalletOrder,
    Sale,
    SellOrder,
    SwapOrder,
    TakeProfitOrder,
    TradeOutcome,
    TradeResult,
    WalletOrder,
    WithdrawOrder,
)
from nexgent_db.outcomes import content_digest, entry_of, race_lost, reset_result, sale_of, trade_result
from nexgent_db.sync._repository import Repository
from nexgent_db.sync._session import Session

Sent = TypeVar("Sent", bound=WalletOrder)
Result = TypeVar("Result", TradeResult, ResetResult)


class _Statements(Repository, sql="trades"):
    """The statements themselves; what they answer is told apart by :class:`Trades`."""

    @query
    def lock_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> None:
        """Hold the wallet until the end of the block."""
        ...

    @query
    def post(self, entry: LedgerEntry, content_digest: bytes) -> TradeOutcome:
        """A deposit, withdrawal, burn or plain swap."""
        ...

    @query
    def buy(self, order: BuyOrder, content_digest: bytes) -> TradeOutcome:
        """Open a position."""
        ...

    @query
    def dca_buy(self, order: DcaBuyOrder, content_digest: bytes) -> TradeOutcome:
        """Add to a position."""
        ...

    @query
    def sell(self, sale: Sale, content_digest: bytes) -> TradeOutcome:
        """Reduce or close a position."""
        ...

    @query
    def reset_wallet(self, order: ResetWalletOrder, content_digest: bytes) -> TradeOutcome:
        """Start a wallet over."""
        ...


_Statement = Callable[[_Statements, Sent, bytes], TradeOutcome]


class Trades:
    """What moves value. Every method is one atomic unit: it happens whole, or not at all.

    Alone, a trade is one round trip, or two when it had to wait for another one of its wallet, and is durable when the
    method returns; in a block it becomes so with the block. Repeating an order returns its first result with
    ``replayed`` set, so it is safe to send one again when its answer was lost.

    Each raises, in this order, and changes nothing then: what a query raises before and at sending; WalletNotFound;
    IdempotencyConflict; what is said at the method; InsufficientBalance (fees included). NumericOverflow when a
    figure would not fit its column.

    Locks: the agent's row is shared, the wallet's row held, until the end of the transaction; so the trades of one
    wallet follow one another.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def deposit(self, order: DepositOrder) -> TradeResult:
        """Add an amount to the wallet."""
        return self._trade(_Statements.post, order, entry_of(order))

    def withdraw(self, order: WithdrawOrder) -> TradeResult:
        """Take an amount from the wallet. Positions are not looked at."""
        return self._trade(_Statements.post, order, entry_of(order))

    def burn(self, order: BurnOrder) -> TradeResult:
        """Take an amount from the wallet, as destroyed. Positions are not looked at."""
        return self._trade(_Statements.post, order, entry_of(order))

    def swap(self, order: SwapOrder) -> TradeResult:
        """Take one token and add another. Positions are not looked at."""
        return self._trade(_Statements.post, order, entry_of(order))

    def buy(self, order: BuyOrder) -> TradeResult:
        """Spend SOL on a token and open its position. Raises PositionExists."""
        return self._trade(_Statements.buy, order, order)

    def dca_buy(self, order: DcaBuyOrder) -> TradeResult:
        """Spend SOL on more of an open position's token. Raises PositionNotFound, StalePosition."""
        return self._trade(_Statements.dca_buy, order, order)

    def take_profit(self, order: TakeProfitOrder) -> TradeResult:
        """Sell part of an open position; what leaves nothing over closes it.

        Raises PositionNotFound, StalePosition, Oversell, MoonBagTooLarge, SaleBeforePurchase.
        """
        return self._trade(_Statements.sell, order, sale_of(order))

    def sell(self, order: SellOrder) -> TradeResult:
        """Sell all that remains of an open position and close it.

        Raises PositionNotFound, Oversell, NotAFullSale, SaleBeforePurchase.
        """
        return self._trade(_Statements.sell, order, sale_of(order))

    def reset_wallet(self, order: ResetWalletOrder) -> ResetResult:
        """Burn all that a simulation wallet holds, give up its positions, deposit the opening SOL.

        Raises WalletNotSimulated.
        """
        return self._settled(_Statements.reset_wallet, order, order, reset_result)

    def _trade(self, statement: _Statement[Sent], order: WalletOrder, sent: Sent) -> TradeResult:
        return self._settled(statement, order, sent, trade_result)

    def _settled(
        self,
        statement: _Statement[Sent],
        order: WalletOrder,
        sent: Sent,
        result_of: Callable[[WalletOrder, TradeOutcome], Result],
    ) -> Result:
        """The result of the trade; the cache has been told of it, if there is one."""
        cache = self._session.cache
        began = None if cache is None else cache.now()
        result = result_of(order, self._make(statement, order, sent))
        if cache is not None and began is not None:
            cache.apply_trade(result, getattr(order, "token_address", None), began)
        elif result.replayed and self._session.replays is not None:
            self._session.replays.append((result, getattr(order, "token_address", None)))
        return result

    def _make(self, statement: _Statement[Sent], order: WalletOrder, sent: Sent) -> TradeOutcome:
        bound = _Statements.queries[statement.__name__]
        call = bound.call((sent, content_digest(order)), {})
        try:
            outcome: TradeOutcome = self._session.run(bound, call)
            if outcome.outcome == "stale":
                # It waited for another trade of this wallet and saw the time before. Behind the lock, it is its turn.
                lock = _Statements.queries["lock_wallet"].call((order.agent_id, order.wallet_address), {})
                outcome = self._session.run(bound, call._replace(first=lock))
        except UniqueViolation as error:
            raise race_lost(order, error) from error
        return outcome
