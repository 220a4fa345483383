# Generated from nexgent_db/aio/repositories/trades.py by `make sync`: do not edit.
"""Trades: each is one call of a function of the schema, auto-committed or inside a transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn
from uuid import UUID

from nexgent_db.errors import CommittedButUnread, InvalidInput, SchemaNotReady, TradeRefused, UniqueViolation
from nexgent_db.models.base import BigInt, Percent, TokenNumber, WalletAddress
from nexgent_db.models.historical_swaps import AgentHistoricalSwap
from nexgent_db.models.positions import AgentPosition, PriceOutcome
from nexgent_db.models.trades import (
    BurnOrder,
    BuyOrder,
    DcaBuyOrder,
    DepositOrder,
    LedgerEntry,
    ResetOutcome,
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
    WriteOffOrder,
)
from nexgent_db.models.transactions import AgentTransaction
from nexgent_db.queries.binding import BoundQuery, Call, query
from nexgent_db.queries.trade_results import (
    content_digest,
    entry_of,
    race_lost,
    reset_result,
    sale_of,
    trade_result,
    write_off_result,
)
from nexgent_db.queries.unreadable import committed_but_unread
from nexgent_db.schema.version import naming_migration
from nexgent_db.sync.repositories.base import Repository
from nexgent_db.sync.session import Session
from nexgent_db.sync.turns import in_turns

MAX_ATOMIC_ORDERS: Final = 10_000
"""How many orders are one transaction at most: their results are in memory, and their wallets locked, all at once."""
CHUNK_SIZE: Final = 500
"""How many orders are committed together when a batch is not atomic."""
SENT_TOGETHER: Final = 200
"""How many orders are sent before the first answer is read."""


class _Statements(Repository, sql="trades"):
    """The calls of the functions; :class:`Trades` turns their outcomes into results and refusals."""

    @query
    def lock_wallets(self, agent_ids: list[UUID], wallet_addresses: list[WalletAddress]) -> None:
        """Take the locks that the trades of these wallets take first, until the end of the transaction."""
        ...

    @query
    def record_transaction(
        self, entry: LedgerEntry, content_digest: bytes
    ) -> tuple[TradeOutcome, AgentTransaction | None]:
        """Record a deposit, withdrawal, burn or plain swap; changes no position."""
        ...

    @query
    def buy(
        self, order: BuyOrder, content_digest: bytes
    ) -> tuple[TradeOutcome, AgentTransaction | None, AgentPosition | None]:
        """Spend SOL, receive tokens and open the position."""
        ...

    @query
    def dca_buy(
        self, order: DcaBuyOrder, content_digest: bytes
    ) -> tuple[TradeOutcome, AgentTransaction | None, AgentPosition | None]:
        """Spend SOL, receive tokens and add them to the open position."""
        ...

    @query
    def sell(
        self, sale: Sale, content_digest: bytes
    ) -> tuple[TradeOutcome, AgentTransaction | None, AgentPosition | None, AgentHistoricalSwap | None]:
        """Sell tokens of the open position for SOL; a sale that leaves nothing closes it."""
        ...

    @query
    def write_off(
        self, order: WriteOffOrder, content_digest: bytes
    ) -> tuple[TradeOutcome, AgentTransaction | None, AgentHistoricalSwap | None]:
        """Burn what the wallet holds of the open position's token and close the position."""
        ...

    @query
    def record_prices(
        self,
        position_ids: list[UUID],
        prices: list[TokenNumber],
        stop_losses: list[Percent | None],
        may_lower: list[bool],
        expected_versions: list[BigInt | None],
    ) -> list[tuple[PriceOutcome, AgentPosition | None]]:
        """Record prices of open positions and the stop losses that follow them, by a list for each column."""
        ...

    @query
    def reset_wallet(
        self, order: ResetWalletOrder, content_digest: bytes
    ) -> list[tuple[ResetOutcome, AgentTransaction | None]]:
        """Reset a simulation wallet."""
        ...


_Trade = tuple[str, Callable[[Any], Any], Callable[[WalletOrder, Any], TradeResult | ResetResult]]
"""A kind of order: the statement, what is sent of the order, and how its answer becomes a result."""

_KINDS: Final[dict[type[WalletOrder], _Trade]] = {
    DepositOrder: ("record_transaction", entry_of, trade_result),
    WithdrawOrder: ("record_transaction", entry_of, trade_result),
    BurnOrder: ("record_transaction", entry_of, trade_result),
    SwapOrder: ("record_transaction", entry_of, trade_result),
    BuyOrder: ("buy", lambda order: order, trade_result),
    DcaBuyOrder: ("dca_buy", lambda order: order, trade_result),
    TakeProfitOrder: ("sell", sale_of, trade_result),
    SellOrder: ("sell", sale_of, trade_result),
    WriteOffOrder: ("write_off", lambda order: order, write_off_result),
    ResetWalletOrder: ("reset_wallet", lambda order: order, reset_result),
}


class Trades:
    """The operations that move value. Every method is one atomic unit: it happens whole, or not at all.

    An auto-committed trade takes one round trip and is durable when the method returns; in a transaction it is durable
    after COMMIT. Repeating an order returns its first
    result with ``duplicate`` set, so it is safe to send an order again after its answer was lost (ConnectionLost, or a
    timeout of the caller's own).

    A refusal of such a repetition is not final: the first sending may still be on its way in the network and be
    executed later. OrderExpired is final, as long as the database's clock is not set back: from ``expires_at`` on an
    order is not executed, whenever it arrives and however long it waits for its wallet. So give orders an
    ``expires_at``, and repeat one whose answer was lost until it returns a result or raises OrderExpired.

    Each method raises, in this order, and changes nothing then: what a query raises before and at sending;
    WalletNotFound; IdempotencyConflict; OrderExpired; the method's own errors; InsufficientBalance (fees included).
    NumericOverflow when a figure would not fit its column. CommittedButUnread when an auto-committed trade was executed
    and its result cannot be read, such as ``infinity`` in a column; in a transaction, UnreadableValue.

    Locks until the end of the transaction: the agent's row FOR KEY SHARE, then the wallet's row; so the trades of one
    wallet run one after another.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def deposit(self, order: DepositOrder) -> TradeResult:
        """Add an amount to the wallet."""
        return self._trade(order, DepositOrder)

    def withdraw(self, order: WithdrawOrder) -> TradeResult:
        """Take an amount from the wallet. Positions stay unchanged."""
        return self._trade(order, WithdrawOrder)

    def burn(self, order: BurnOrder) -> TradeResult:
        """Destroy an amount of the wallet. Positions stay unchanged."""
        return self._trade(order, BurnOrder)

    def swap(self, order: SwapOrder) -> TradeResult:
        """Exchange one token of the wallet for another. Positions stay unchanged."""
        return self._trade(order, SwapOrder)

    def buy(self, order: BuyOrder) -> TradeResult:
        """Spend SOL on a token and open its position. Raises PositionExists."""
        return self._trade(order, BuyOrder)

    def dca_buy(self, order: DcaBuyOrder) -> TradeResult:
        """Spend SOL on more of an open position's token. Raises PositionNotFound, StalePosition."""
        return self._trade(order, DcaBuyOrder)

    def take_profit(self, order: TakeProfitOrder) -> TradeResult:
        """Sell part of an open position; a sale that leaves nothing closes it.

        Raises PositionNotFound, StalePosition, Oversell, MoonBagTooLarge, SaleBeforePurchase. A sale without a signal,
        or whose signal was deleted meanwhile, is recorded all the same: without one it has the signal of the purchase.
        """
        return self._trade(order, TakeProfitOrder)

    def sell(self, order: SellOrder) -> TradeResult:
        """Sell all that remains of an open position and close it.

        Raises PositionNotFound, Oversell, NotAFullSale, SaleBeforePurchase.
        """
        return self._trade(order, SellOrder)

    def write_off(self, order: WriteOffOrder) -> TradeResult:
        """Burn what the wallet holds of a worthless token and close its position with what was received before.

        The transaction is the burn; the historical swap has the close reason ``write_off``. Raises PositionNotFound,
        SaleBeforePurchase; InsufficientBalance also when the wallet holds nothing of the token.
        """
        return self._trade(order, WriteOffOrder)

    def reset_wallet(self, order: ResetWalletOrder) -> ResetResult:
        """Burn every holding of a simulation wallet, delete its positions, deposit the opening SOL when given.

        Raises WalletNotSimulated.
        """
        result = self._execute(order, ResetWalletOrder)
        assert isinstance(result, ResetResult)
        return result

    def execute_many(
        self,
        orders: Sequence[WalletOrder],
        *,
        atomic: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[TradeResult | ResetResult | TradeRefused]:
        """Execute any mix of orders, of any number of wallets; return a result or a refusal for each, in their order.

        All orders are one transaction, MAX_ATOMIC_ORDERS at most: after an error none was executed. A refusal is no
        error: the other orders are executed. Without ``atomic``, chunks of CHUNK_SIZE orders are committed one after
        another; after an error the earlier chunks stay committed, and the same call is safe to repeat. After each chunk
        ``progress`` gets the number of executed orders, and of all. Inside a transaction the orders are a part of it,
        atomic or not.

        The orders are sent together: a few round trips for all. The wallets of a chunk are locked first, in the order
        of their addresses, so batches do not deadlock with each other, nor with single trades.

        Raises InvalidInput, before anything is sent, for an object that is no order (its place is named) and for too
        many orders; then what a single trade raises, except for refusals.
        """
        calls = in_turns(lambda item: self._call_of(item[1], f"orders[{item[0]}]"), enumerate(orders))
        limit = MAX_ATOMIC_ORDERS if atomic else len(orders)
        if len(orders) > limit:
            raise InvalidInput("orders", f"{len(orders)} are too many for one transaction, which takes {limit}")
        # In an open transaction all wallets are locked first: later chunks would lock theirs out of order.
        size = CHUNK_SIZE if not atomic and self._session.duplicates is None else max(limit, 1)
        results: list[TradeResult | ResetResult | TradeRefused] = []
        for start in range(0, len(orders), size):
            with self._session.transaction() as session:
                chunk = slice(start, start + size)
                results += Trades(session)._execute_chunk(orders[chunk], calls[chunk])
            if progress is not None:
                progress(len(results), len(orders))
        return results

    def _execute_chunk(
        self, orders: Sequence[WalletOrder], calls: Sequence[tuple[BoundQuery, Call]]
    ) -> list[TradeResult | ResetResult | TradeRefused]:
        wallets = sorted({(order.wallet_address, order.agent_id) for order in orders})
        lock = _Statements.queries["lock_wallets"]
        locking = lock.call(([agent for _, agent in wallets], [wallet for wallet, _ in wallets]), {})
        results: list[TradeResult | ResetResult | TradeRefused] = []
        for start in range(0, len(orders), SENT_TOGETHER):
            first = [] if start else [(lock, locking)]
            answers: list[Any] = []
            try:
                self._session.run_many([*first, *calls[start : start + SENT_TOGETHER]], answers)
            except Exception as error:
                self._raise_for(orders[min(start + max(len(answers) - len(first), 0), len(orders) - 1)], error)
            for answer in answers[len(first) :]:
                order = orders[len(results)]
                try:
                    result = _KINDS[type(order)][2](order, answer)
                    self._note_duplicate(order, result)
                    results.append(result)
                except TradeRefused as refused:
                    results.append(refused)
        return results

    def _trade(self, order: WalletOrder, kind: type[WalletOrder]) -> TradeResult:
        result = self._execute(order, kind)
        assert isinstance(result, TradeResult)
        return result

    def _execute(self, order: WalletOrder, kind: type[WalletOrder]) -> TradeResult | ResetResult:
        """The result of the trade, after its changes were sent to the cache if there is one."""
        bound, call = self._call_of(order, "order", kind)
        cache = self._session.cache
        started_at = None if cache is None else cache.now()
        try:
            answer = self._session.run(bound, call)
        except Exception as error:
            if cache is not None and isinstance(error, CommittedButUnread):
                cache.leave_to_outbox()
            self._raise_for(order, error)
        result = _KINDS[kind][2](order, answer)
        if cache is not None and started_at is not None:
            cache.apply_trade(result, getattr(order, "token_address", None), started_at)
        self._note_duplicate(order, result)
        return result

    def _call_of(self, order: WalletOrder, name: str, kind: type[WalletOrder] | None = None) -> tuple[BoundQuery, Call]:
        found = _KINDS.get(type(order)) if kind is None or type(order) is kind else None
        if found is None:
            raise InvalidInput(
                name, f"{'an order' if kind is None else kind.__name__} expected, {type(order).__name__} given"
            )
        bound = _Statements.queries[found[0]]
        return bound, bound.call((found[1](order), content_digest(order)), {})

    def _note_duplicate(self, order: WalletOrder, result: TradeResult | ResetResult) -> None:
        if result.duplicate and self._session.duplicates is not None:
            self._session.duplicates.append((result, getattr(order, "token_address", None)))

    def _raise_for(self, order: WalletOrder, error: Exception) -> NoReturn:
        """Raise an error of this order."""
        match error:
            case UniqueViolation():
                raise race_lost(order, error) from error
            case SchemaNotReady():
                raise naming_migration(error) from error
            case CommittedButUnread():
                raise committed_but_unread(error.query, order.request_id, error.__cause__) from error.__cause__
        raise error
