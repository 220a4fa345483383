"""Writes a history through the trades: in file order, a hundred events to a transaction.

Nothing is remembered beside the database, so a replay that was killed goes on, and one that is repeated changes
nothing. A pass over the file finds the last event whose request exists: everything up to there was decided, and
what left no request was refused. From there on events are decided by what the database holds. Whatever a run sends
must therefore be new: a trade that turns out to have been made already means that another run is ahead (or that
one which was killed has just been committed), and then the block is undone and the pass made again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID

import psycopg

from nexgent_db.errors import (
    CheckViolation,
    ConnectionLost,
    DatabaseError,
    IdempotencyConflict,
    InvalidInput,
    TradeRefused,
    TransactionConflict,
    UniqueViolation,
)
from nexgent_db.models._base import SOL_MINT
from nexgent_db.models.trades import (
    BuyOrder,
    DcaBuyOrder,
    DepositOrder,
    SellOrder,
    SwapOrder,
    TakeProfitOrder,
    TradeOrder,
    TradeResult,
    WithdrawOrder,
    request_id_of,
)
from nexgent_db.replay.accounts import MAX_AGENTS, USER_EMAIL, USER_ID, Account, accounts_of, share_of
from nexgent_db.replay.events import BadLine, Event, Line, ReplayError, read_history
from nexgent_db.replay.plan import EXACT, opening_balances
from nexgent_db.replay.rules import order_of, position_token
from nexgent_db.sync.database import Database, Transaction

__all__ = ["OUTCOMES", "Outcome", "ReplayReport", "replay"]

Outcome = Literal["deposit", "withdrawal", "buy", "dca_buy", "take_profit", "sell", "swap", "refused", "invalid"]
OUTCOMES: Final[tuple[Outcome, ...]] = (
    "deposit",
    "withdrawal",
    "buy",
    "dca_buy",
    "take_profit",
    "sell",
    "swap",
    "refused",
    "invalid",
)

_BLOCK_EVENTS: Final = 100
_SURVEY_EVENTS: Final = 1000
_ANALYZE_AFTER_BLOCKS: Final = {2, 10}
_TRADED_TABLES: Final = (
    "agent_balances",
    "agent_historical_swaps",
    "agent_positions",
    "agent_transactions",
    "agent_wallets",
    "agents",
    "trade_requests",
)
_ATTEMPTS: Final = 5
_POSITIONS_REMEMBERED: Final = 50_000


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a history came to: its events by outcome, and what the agents hold now.

    ``bad_lines`` are among the invalid ones. ``elapsed_s`` is this run's, which may have found much already done.
    """

    outcomes: dict[Outcome, int]
    bad_lines: int
    open_positions: int
    closed: int
    realized_profit_sol: Decimal
    sol_balance: Decimal
    opening_sol: Decimal
    accounts: tuple[Account, ...]
    elapsed_s: float

    @property
    def events(self) -> int:
        """How many events the file has, invalid ones included."""
        return sum(self.outcomes.values())

    @property
    def events_per_s(self) -> float:
        """How fast this run was, reading included."""
        return self.events / self.elapsed_s if self.elapsed_s else 0.0


def replay(
    db: Database,
    path: Path,
    *,
    agents: int = 1,
    on_bad_line: Callable[[BadLine], None] = lambda _: None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> ReplayReport:
    """Replay the file's events into their agents, which are created if they are missing; on return all is durable.

    Bad lines are passed to ``on_bad_line`` once each, before any trade; ``on_progress`` gets the bytes of
    the file done, and its size. Repeating a replay gives the same report, times aside.

    Raises InvalidInput for ``agents``; ReplayError when the file cannot be read, holds no event, or its wallet
    belongs to an agent that is not the replay's; DatabaseError. After any of them it may be run again, to go on.
    """
    if not 1 <= agents <= MAX_AGENTS:
        raise InvalidInput("agents", f"should be from 1 to {MAX_AGENTS}, not {agents}")
    if path.exists() and not path.is_file():
        raise ReplayError(f"{path} is not a file: give the JSONL file itself, which is read more than once")
    started = time.perf_counter()
    run = _Run(db, path, agents, on_bad_line, on_progress)
    outcomes = run.finish()
    return run.report(outcomes, started)


class _Overtaken(ReplayError):
    """A trade that should have been new had been made."""


class _Run:
    def __init__(
        self,
        db: Database,
        path: Path,
        agents: int,
        on_bad_line: Callable[[BadLine], None],
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._db = db
        self._path = path
        self._agents = agents
        self._on_bad_line = on_bad_line
        self._on_progress = on_progress
        self._bad_lines = 0
        self._accounts: list[Account] = []
        self._remaining: dict[tuple[str, str], Decimal | None] = {}

    def _lines(self) -> Iterator[Line | BadLine]:
        return read_history(self._path)

    def _account_of(self, event: Event) -> Account:
        return self._accounts[share_of(event.traded_mint, self._agents)]

    # --- The agents -----------------------------------------------------------------------------

    def _open_accounts(self) -> None:
        """Create what is missing of the user, the agents and their wallets, and fund those that share a history."""
        try:
            self._create_accounts()
        except UniqueViolation:  # another replay was first
            self._create_accounts()
        if self._agents > 1:
            self._deposit_openings()

    def _create_accounts(self) -> None:
        with self._db.transaction() as tx:
            if tx.users.find_by_id(USER_ID) is None:
                tx.users.create(USER_EMAIL, user_id=USER_ID)
            for account in self._accounts:
                if tx.agents.find_by_id(account.agent_id) is None:
                    tx.agents.create(USER_ID, account.name, agent_id=account.agent_id)
                wallet = tx.agents.find_wallet_by_address(account.wallet_address)
                if wallet is None:
                    tx.wallets.create(account.wallet_address, account.agent_id, "simulation")
                elif wallet.agent_id != account.agent_id:
                    raise ReplayError(
                        f"wallet {account.wallet_address} belongs to agent {wallet.agent_id} of this database:"
                        " replay its history into another database"
                    )

    def _deposit_openings(self) -> None:
        made = {request.id for request in self._db.trade_requests.list_by_ids([a.opening_id for a in self._accounts])}
        if len(made) == len(self._accounts):
            return
        first = next(line.event.time for line in self._lines() if isinstance(line, Line))
        needs = opening_balances(self._lines(), self._accounts)
        with self._db.transaction() as tx:
            for account, amount in zip(self._accounts, needs, strict=True):
                if amount and account.opening_id not in made:
                    tx.trades.deposit(
                        DepositOrder(
                            request_id=account.opening_id,
                            agent_id=account.agent_id,
                            wallet_address=account.wallet_address,
                            transaction_time=first,
                            token_address=SOL_MINT,
                            token_symbol="SOL",  # noqa: S106  # not a secret
                            amount=amount,
                        )
                    )

    # --- The events -----------------------------------------------------------------------------

    def finish(self) -> Counter[Outcome]:
        """Decide every event that no run has decided; what became of each event of the file."""
        outcomes, reached = self._survey(self._meet(self._lines()))
        self._open_accounts()
        failures = 0
        while True:
            try:
                return outcomes + self._go_on(reached)
            except (_Overtaken, ConnectionLost, TransactionConflict):
                failures += 1
                if failures == _ATTEMPTS:
                    raise
            time.sleep(0.05 * 2**failures)
            outcomes, last = self._survey(self._lines())
            if last > reached:
                reached, failures = last, 0

    def _meet(self, lines: Iterator[Line | BadLine]) -> Iterator[Line | BadLine]:
        """The same lines: bad ones reported, and with the first event the accounts known."""
        for line in lines:
            if isinstance(line, BadLine):
                self._bad_lines += 1
                self._on_bad_line(line)
            elif not self._accounts:
                self._accounts = accounts_of(line.event.wallet, self._agents)
            yield line
        if not self._accounts:
            raise ReplayError(f"{self._path} holds no event: one JSON object a line is expected")

    def _survey(self, lines: Iterator[Line | BadLine]) -> tuple[Counter[Outcome], int]:
        """What became of the events decided so far, and the number of the last line among them; 0 for none."""
        decided: Counter[Outcome] = Counter()
        since: Counter[Outcome] = Counter()
        last = 0
        while chunk := list(islice(lines, _SURVEY_EVENTS)):
            ids = {line.number: self._request_id(line) for line in chunk if _is_trade(line)}
            made = {request.id: request.operation for request in self._db.trade_requests.list_by_ids([*ids.values()])}
            for line in chunk:
                if line.number not in ids:
                    since["invalid"] += 1
                elif (operation := made.get(ids[line.number])) is None:
                    since["refused"] += 1
                else:
                    decided += since
                    since.clear()
                    decided[operation] += 1  # type: ignore[index]  # of the operations, those that events come to
                    last = line.number
        return decided, last

    def _request_id(self, line: Line | BadLine) -> UUID:
        assert isinstance(line, Line)
        account = self._account_of(line.event)
        return request_id_of(account.wallet_address, line.event.tx_hash, line.leg)

    def _go_on(self, last: int) -> Counter[Outcome]:
        """Decide the events after line ``last``."""
        total = self._path.stat().st_size
        outcomes: Counter[Outcome] = Counter()
        lines = (line for line in self._lines() if line.number > last)
        blocks = 0
        while chunk := list(islice(lines, _BLOCK_EVENTS)):
            trades = [line for line in chunk if isinstance(line, Line) and _is_trade(line)]
            outcomes["invalid"] += len(chunk) - len(trades)
            outcomes += self._decide(trades)
            blocks += 1
            if blocks in _ANALYZE_AFTER_BLOCKS:
                self._analyze()
            ends = [line.end for line in chunk if isinstance(line, Line)]
            if ends:
                self._on_progress(ends[-1], total)
        self._on_progress(total, total)
        return outcomes

    def _analyze(self) -> None:
        """Tell the planner how the tables have grown: autovacuum comes a minute later, and till then every trade
        would go by plans made for empty tables, which read all of a wallet's rows. Speed only: may fail."""
        with suppress(psycopg.Error), psycopg.connect(self._db.settings.conninfo, autocommit=True) as connection:
            connection.execute("SET lock_timeout = '1s'")
            connection.execute("ANALYZE " + ", ".join(_TRADED_TABLES))

    def _decide(self, lines: list[Line]) -> Counter[Outcome]:
        """The outcomes of these events, in one transaction.

        An event that PostgreSQL itself finds impossible aborts the transaction. Then each is given a savepoint.
        """
        if not lines:
            return Counter()
        if len(self._remaining) > _POSITIONS_REMEMBERED:
            self._remaining.clear()
        try:
            try:
                return self._decide_in_block(lines, self._make)
            except (DatabaseError, InvalidInput) as error:
                if not _is_impossible(error):
                    raise
                self._remaining.clear()
                return self._decide_in_block(lines, self._make_or_undo)
        except BaseException:
            self._remaining.clear()
            raise

    def _decide_in_block(
        self, lines: list[Line], make: Callable[[Transaction, TradeOrder], TradeResult | None]
    ) -> Counter[Outcome]:
        outcomes: Counter[Outcome] = Counter()
        with self._db.transaction() as tx:
            for line in lines:
                outcomes[self._decide_one(tx, line, make)] += 1
        return outcomes

    def _decide_one(
        self, tx: Transaction, line: Line, make: Callable[[Transaction, TradeOrder], TradeResult | None]
    ) -> Outcome:
        account = self._account_of(line.event)
        token = position_token(line.event)
        remaining = None if token is None else self._remaining_of(tx, account, token)
        order = order_of(line, account, remaining)
        if order is None:
            return "refused"
        result = make(tx, order)
        if result is None:
            return "refused"
        if result.replayed:
            raise _Overtaken(f"line {line.number} of {self._path} is being replayed by another process: run one only")
        if token is not None and not isinstance(order, SwapOrder):
            position = result.position
            self._remaining[account.wallet_address, token] = None if position is None else position.remaining
        return _OUTCOMES[type(order)]

    def _remaining_of(self, tx: Transaction, account: Account, token: str) -> Decimal | None:
        key = account.wallet_address, token
        if key not in self._remaining:
            position = tx.positions.find_by_wallet_and_token(account.agent_id, account.wallet_address, token)
            self._remaining[key] = None if position is None else position.remaining
        return self._remaining[key]

    def _make(self, tx: Transaction, order: TradeOrder) -> TradeResult | None:
        """The trade's result, or None when it is refused."""
        try:
            return _METHODS[type(order)](tx.trades, order)
        except IdempotencyConflict as error:
            if tx.trade_requests.list_by_ids([order.request_id]):
                raise _Overtaken(f"{error}: another process replays this history; run one only") from error
            return None
        except TradeRefused:
            return None

    def _make_or_undo(self, tx: Transaction, order: TradeOrder) -> TradeResult | None:
        """The same, where what PostgreSQL finds impossible counts as refused."""
        try:
            with tx.transaction() as inner:
                return self._make(inner, order)
        except (DatabaseError, InvalidInput) as error:
            if not _is_impossible(error):
                raise
            return None

    # --- The end --------------------------------------------------------------------------------

    def report(self, outcomes: Counter[Outcome], started: float) -> ReplayReport:
        totals = _Totals()
        for account in self._accounts:
            self._add_up(account, totals)
        return ReplayReport(
            outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES},
            bad_lines=self._bad_lines,
            open_positions=totals.open_positions,
            closed=totals.closed,
            realized_profit_sol=totals.realized_profit_sol,
            sol_balance=totals.sol_balance,
            opening_sol=totals.opening_sol,
            accounts=tuple(self._accounts),
            elapsed_s=time.perf_counter() - started,
        )

    def _add_up(self, account: Account, totals: _Totals) -> None:
        with self._db.transaction(isolation="repeatable read", read_only=True) as tx:
            closed = tx.historical_swaps.total_by_wallet(account.agent_id, account.wallet_address)
            still_open = tx.positions.total_by_wallet(account.agent_id, account.wallet_address)
            sol = tx.balances.find_by_wallet_and_token(account.wallet_address, SOL_MINT)
            opening = tx.transactions.find_by_id(account.opening_id)
        totals.closed += closed.closed
        totals.open_positions += still_open.open
        for profit in (closed.profit_loss_sol, still_open.realized_profit_sol):
            totals.realized_profit_sol = EXACT.add(totals.realized_profit_sol, profit)
        if sol is not None:
            totals.sol_balance = EXACT.add(totals.sol_balance, sol.balance)
        if opening is not None and opening.input_amount is not None:
            totals.opening_sol = EXACT.add(totals.opening_sol, opening.input_amount)


@dataclass
class _Totals:
    open_positions: int = 0
    closed: int = 0
    realized_profit_sol: Decimal = field(default_factory=Decimal)
    sol_balance: Decimal = field(default_factory=Decimal)
    opening_sol: Decimal = field(default_factory=Decimal)


def _is_trade(line: Line | BadLine) -> bool:
    return isinstance(line, Line) and not line.event.says_nothing


def _is_impossible(error: DatabaseError | InvalidInput) -> bool:
    """Whether the fault is the event's own: a figure or a text that the tables cannot hold."""
    if isinstance(error, InvalidInput | CheckViolation):
        return True
    return error.sqlstate is not None and error.sqlstate.startswith("22")  # data exceptions: overflow and the like


_OUTCOMES: Final[dict[type[TradeOrder], Outcome]] = {
    DepositOrder: "deposit",
    WithdrawOrder: "withdrawal",
    BuyOrder: "buy",
    DcaBuyOrder: "dca_buy",
    TakeProfitOrder: "take_profit",
    SellOrder: "sell",
    SwapOrder: "swap",
}

_METHODS: Final[dict[type[TradeOrder], Callable[[Any, Any], TradeResult]]] = {
    DepositOrder: lambda trades, order: trades.deposit(order),
    WithdrawOrder: lambda trades, order: trades.withdraw(order),
    BuyOrder: lambda trades, order: trades.buy(order),
    DcaBuyOrder: lambda trades, order: trades.dca_buy(order),
    TakeProfitOrder: lambda trades, order: trades.take_profit(order),
    SellOrder: lambda trades, order: trades.sell(order),
    SwapOrder: lambda trades, order: trades.swap(order),
}
