"""Replays a history through the trades: in file order, a hundred events to a transaction, sent together.

What an event means depends on the rest of its token's position. So the run keeps what the agents hold, and predicts of
each order whether it will be executed; the database decides. When it decides otherwise about an order that a later one
of the batch depends on, the batch is rolled back and decided one by one.

The only state that counts is the database, so a replay that was killed can be continued, and a repeated one changes
nothing. A pass over the file finds the last event whose request exists: all events before it are decided, and those
without a request were refused. Later events are decided by the content of the database. So every trade that a run sends
must be new: a duplicate means that another run is ahead (or that the last transaction of a killed run has just been
committed). Then the transaction is rolled back and the pass is repeated.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg

from nexgent_db import sessions
from nexgent_db.errors import (
    CheckViolation,
    ConfigurationError,
    ConnectionLost,
    DatabaseError,
    DatabaseUnavailable,
    IdempotencyConflict,
    InvalidInput,
    TradeRefused,
    TransactionConflict,
    UniqueViolation,
)
from nexgent_db.models.base import SOL_MINT
from nexgent_db.models.ids import request_id_of, trade_id_of
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
)
from nexgent_db.replay.accounts import MAX_AGENTS, USER_EMAIL, USER_ID, Account, accounts_of, share_of
from nexgent_db.replay.events import BadLine, Event, Line, ReplayError, read_history
from nexgent_db.replay.holdings import Holdings
from nexgent_db.replay.plan import opening_balances
from nexgent_db.replay.report import Outcome, ReplayReport, report_of
from nexgent_db.replay.rules import order_of, position_token
from nexgent_db.sync.database import Database
from nexgent_db.sync.transaction import Transaction

__all__ = ["replay"]

_EVENTS_PER_TRANSACTION: Final = 100
_SURVEY_EVENTS: Final = 1000
_ANALYZE_AFTER: Final = {2, 10}
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


def replay(
    db: Database,
    path: Path,
    *,
    agents: int = 1,
    on_bad_line: Callable[[BadLine], None] = lambda _: None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> ReplayReport:
    """Replay the file's events into their agents, which are created if they are missing; on return all is durable.

    ``on_bad_line`` gets each bad line once, before any trade; ``on_progress`` gets the number of bytes done and
    the size of the file. A repeated replay gives the same report, except for times.

    Raises InvalidInput for ``agents``; ReplayError when the file cannot be read, holds no event, or its wallet
    belongs to an agent that is not the replay's; DatabaseError. After any of them, run it again to continue.
    """
    if not 1 <= agents <= MAX_AGENTS:
        raise InvalidInput("agents", f"should be from 1 to {MAX_AGENTS}, not {agents}")
    if path.exists() and not path.is_file():
        raise ReplayError(f"{path} is not a file: give the JSONL file itself, which is read more than once")
    started = time.perf_counter()
    run = _Run(db, path, agents, on_bad_line, on_progress)
    outcomes = run.finish()
    return report_of(db, run.accounts, outcomes, run.bad_lines, time.perf_counter() - started)


class _Overtaken(ReplayError):
    """Another run, or an earlier one, has already made a trade that should be new."""


class _Mispredicted(Exception):
    """An order was not decided as predicted, and a later order of its batch depends on it."""


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
        self.bad_lines = 0
        self.accounts: list[Account] = []
        self._holdings = Holdings()

    def _lines(self) -> Iterator[Line | BadLine]:
        return read_history(self._path)

    def _account_of(self, event: Event) -> Account:
        return self.accounts[share_of(event.traded_mint, self._agents)]

    # --- The agents -----------------------------------------------------------------------------

    def _open_accounts(self) -> None:
        """Create the user, agents and wallets that are missing, and fund agents that share a history."""
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
            for account in self.accounts:
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
        ids = [account.opening_trade_id for account in self.accounts]
        made = {request.id for request in self._db.trade_requests.list_by_ids(ids)}
        if len(made) == len(self.accounts):
            return
        first = next(line.event.time for line in self._lines() if isinstance(line, Line))
        needs = opening_balances(self._lines(), self.accounts)
        with self._db.transaction() as tx:
            for account, amount in zip(self.accounts, needs, strict=True):
                if amount and account.opening_trade_id not in made:
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
        """Decide every event that no run has decided; return the outcomes of all events of the file."""
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
        """Pass the lines on, report bad ones, and derive the accounts from the first event."""
        for line in lines:
            if isinstance(line, BadLine):
                self.bad_lines += 1
                self._on_bad_line(line)
            elif not self.accounts:
                self.accounts = accounts_of(line.event.wallet, self._agents)
            yield line
        if not self.accounts:
            raise ReplayError(f"{self._path} holds no event: one JSON object a line is expected")

    def _survey(self, lines: Iterator[Line | BadLine]) -> tuple[Counter[Outcome], int]:
        """The outcomes of the events decided so far, and the number of the last line among them; 0 for none."""
        decided: Counter[Outcome] = Counter()
        since: Counter[Outcome] = Counter()
        last = 0
        while chunk := list(islice(lines, _SURVEY_EVENTS)):
            ids = {line.number: self._trade_id(line) for line in chunk if _is_trade(line)}
            made = {request.id: request.operation for request in self._db.trade_requests.list_by_ids([*ids.values()])}
            for line in chunk:
                if line.number not in ids:
                    since["invalid"] += 1
                elif (operation := made.get(ids[line.number])) is None:
                    since["refused"] += 1
                else:
                    decided += since
                    since.clear()
                    decided[operation] += 1  # type: ignore[index]  # events use only some of the operations
                    last = line.number
        return decided, last

    def _trade_id(self, line: Line | BadLine) -> UUID:
        assert isinstance(line, Line)
        account = self._account_of(line.event)
        request_id = request_id_of(account.wallet_address, line.event.tx_hash, line.leg)
        return trade_id_of(account.agent_id, request_id)

    def _go_on(self, last: int) -> Counter[Outcome]:
        """Decide the events after line ``last``."""
        total = self._path.stat().st_size
        outcomes: Counter[Outcome] = Counter()
        lines = (line for line in self._lines() if line.number > last)
        transactions = 0
        while chunk := list(islice(lines, _EVENTS_PER_TRANSACTION)):
            trades = [line for line in chunk if isinstance(line, Line) and _is_trade(line)]
            outcomes["invalid"] += len(chunk) - len(trades)
            outcomes += self._decide(trades)
            transactions += 1
            if transactions in _ANALYZE_AFTER:
                self._analyze()
            ends = [line.end for line in chunk if isinstance(line, Line)]
            if ends:
                self._on_progress(ends[-1], total)
        self._on_progress(total, total)
        return outcomes

    def _analyze(self) -> None:
        """Update the planner's statistics. Autovacuum runs a minute later; until then every trade would use plans
        for empty tables, which read all of a wallet's rows. This affects only speed, so it may fail."""
        may_fail = (psycopg.Error, DatabaseUnavailable, ConfigurationError)  # the last: a pooler answers
        with suppress(*may_fail), sessions.connect(self._db.settings.conninfo) as connection:
            connection.execute("SET lock_timeout = '1s'")
            connection.execute("ANALYZE " + ", ".join(_TRADED_TABLES))

    def _decide(self, lines: list[Line]) -> Counter[Outcome]:
        """The outcomes of these events, in one transaction.

        An event that PostgreSQL finds impossible aborts the transaction. Then each event runs in a savepoint.
        """
        if not lines:
            return Counter()
        self._holdings.limit()
        try:
            try:
                return self._decide_ahead(lines)
            except _Mispredicted:
                self._holdings.forget()
                return self._decide_together(lines, self._make)
            except (DatabaseError, InvalidInput) as error:
                if not _is_impossible(error):
                    raise
                self._holdings.forget()
                return self._decide_together(lines, self._make_or_undo)
        except BaseException:
            self._holdings.forget()
            raise

    def _decide_ahead(self, lines: list[Line]) -> Counter[Outcome]:
        """Predict the outcome of each order, and send all orders together."""
        decided: list[tuple[Line, TradeOrder | None, bool]] = []
        outcomes: Counter[Outcome] = Counter()
        with self._db.transaction() as tx:
            for line in lines:
                account = self._account_of(line.event)
                ledger = self._holdings.ledger_of(tx, account, line.event)
                order = order_of(line, account, ledger.remaining(position_token(line.event)))
                accepted = order is not None and ledger.accepts(order)
                if order is not None and accepted:
                    ledger.apply(order)
                decided.append((line, order, accepted))
            results = iter(tx.trades.execute_many([order for _, order, _ in decided if order is not None]))
            mispredicted: set[str] = set()  # tokens whose position is not what later orders were decided by
            for line, order, accepted in decided:
                if position_token(line.event) in mispredicted:
                    raise _Mispredicted
                result = None if order is None else next(results)
                if order is None or result is None:
                    outcomes["refused"] += 1
                    continue
                refused = isinstance(result, TradeRefused)
                if isinstance(result, TradeRefused):
                    self._ensure_alone(tx, order, result)
                    outcomes["refused"] += 1
                elif result.duplicate:
                    raise self._overtaken(line)
                else:
                    outcomes[_OUTCOMES[type(order)]] += 1
                if refused == accepted:
                    mispredicted.add(line.event.traded_mint)
        if mispredicted:
            self._holdings.forget()
        return outcomes

    def _overtaken(self, line: Line) -> _Overtaken:
        return _Overtaken(f"line {line.number} of {self._path} is being replayed by another process: run one only")

    def _ensure_alone(self, tx: Transaction, order: TradeOrder, refusal: TradeRefused) -> None:
        """Raise _Overtaken when the order was refused because another process has executed it."""
        if isinstance(refusal, IdempotencyConflict) and tx.trade_requests.list_by_ids([order.trade_id]):
            raise _Overtaken(f"{refusal}: another process replays this history; run one only") from refusal

    def _decide_together(
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
        ledger = self._holdings.ledger_of(tx, account, line.event)
        order = order_of(line, account, ledger.remaining(position_token(line.event)))
        if order is None:
            return "refused"
        result = make(tx, order)
        if result is None:
            return "refused"
        if result.duplicate:
            raise self._overtaken(line)
        ledger.apply(order)
        return _OUTCOMES[type(order)]

    def _make(self, tx: Transaction, order: TradeOrder) -> TradeResult | None:
        """The trade's result, or None when it is refused."""
        try:
            return _METHODS[type(order)](tx.trades, order)
        except TradeRefused as refusal:
            self._ensure_alone(tx, order, refusal)
            return None

    def _make_or_undo(self, tx: Transaction, order: TradeOrder) -> TradeResult | None:
        """Make a trade in a savepoint; a trade that PostgreSQL cannot store counts as refused."""
        try:
            with tx.transaction() as inner:
                return self._make(inner, order)
        except (DatabaseError, InvalidInput) as error:
            if not _is_impossible(error):
                raise
            return None


def _is_trade(line: Line | BadLine) -> bool:
    return isinstance(line, Line) and not line.event.says_nothing


def _is_impossible(error: DatabaseError | InvalidInput) -> bool:
    """Whether the event caused the error: it has a figure or a text that the tables cannot hold."""
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
