"""What a service may put in the place of a repository, or of the trades: a Protocol of each.

Written from the classes by ``make sync``; every repository of this package satisfies its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from pydantic import AwareDatetime

from nexgent_db.binding import NOT_GIVEN, NotGiven
from nexgent_db.models._base import (
    Limit,
    LongText,
    Name,
    ShortText,
    TokenAddress,
    TokenNumber,
    TradingMode,
    WalletAddress,
)
from nexgent_db.models._storable import JsonText
from nexgent_db.models.agents import Agent, AgentWithWallets
from nexgent_db.models.api_keys import ApiKey, NewApiKey, VerifiedApiKey
from nexgent_db.models.balance_snapshots import AgentBalanceSnapshot, BalanceSnapshotOrder
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.filters import SignalFilter, SwapFilter, TransactionFilter
from nexgent_db.models.historical_swaps import AgentHistoricalSwap, ClosedTrades
from nexgent_db.models.pages import BeforeNumber, BeforeUuid, Page
from nexgent_db.models.performance import Performance
from nexgent_db.models.positions import AgentPosition, OpenPositions
from nexgent_db.models.signals import (
    EligibleAgent,
    FinalStatus,
    SignalExecution,
    SignalOrder,
    SignalSource,
    SignalStrength,
    SignalSymbol,
    SignalType,
    TradingSignal,
)
from nexgent_db.models.trade_requests import TradeRequest
from nexgent_db.models.trades import (
    BurnOrder,
    BuyOrder,
    DcaBuyOrder,
    DepositOrder,
    ResetResult,
    ResetWalletOrder,
    SellOrder,
    SwapOrder,
    TakeProfitOrder,
    TradeResult,
    WithdrawOrder,
)
from nexgent_db.models.trading_config import AgentTradingConfig
from nexgent_db.models.transactions import AgentTransaction
from nexgent_db.models.users import User
from nexgent_db.models.wallets import AgentWallet

__all__ = [
    "AgentRepositoryProtocol",
    "ApiKeyRepositoryProtocol",
    "BalanceRepositoryProtocol",
    "BalanceSnapshotRepositoryProtocol",
    "HistoricalSwapRepositoryProtocol",
    "PerformanceRepositoryProtocol",
    "PositionRepositoryProtocol",
    "SignalExecutionRepositoryProtocol",
    "SignalRepositoryProtocol",
    "TradeRequestRepositoryProtocol",
    "TradesProtocol",
    "TransactionRepositoryProtocol",
    "UserRepositoryProtocol",
    "WalletRepositoryProtocol",
]


class AgentRepositoryProtocol(Protocol):
    """What trades, and with which wallets."""

    async def find_by_id(self, agent_id: UUID) -> AgentWithWallets | None:
        """The agent and its wallets, simulation first, in one query; None when there is no such agent."""
        ...

    async def list_with_wallets_by_id(self, agent_id: UUID) -> list[tuple[Agent, AgentWallet | None]]:
        """The agent beside each of its wallets, beside None when it has none."""
        ...

    async def find_by_user_id(self, user_id: UUID, limit: Limit = 100) -> list[Agent]:
        """The user's agents, newest first."""
        ...

    async def find_wallet_by_agent_id(self, agent_id: UUID, wallet_type: TradingMode) -> AgentWallet | None:
        """The agent's wallet of this type."""
        ...

    async def find_wallet_by_address(self, wallet_address: WalletAddress) -> AgentWallet | None:
        """The wallet of this address, whosever it is."""
        ...

    async def find_default_wallet(self, agent_id: UUID) -> AgentWallet | None:
        """The wallet of the mode that the agent trades in; None when it has none of that type."""
        ...

    async def create(
        self, user_id: UUID, name: Name, trading_mode: TradingMode = "simulation", agent_id: UUID | None = None
    ) -> Agent:
        """A new agent, under ``agent_id`` when given. Raises ForeignKeyViolation when there is no such user."""
        ...

    async def update(
        self,
        agent_id: UUID,
        name: Name | NotGiven = NOT_GIVEN,
        trading_mode: TradingMode | NotGiven = NOT_GIVEN,
        automated_trading_simulation: bool | NotGiven = NOT_GIVEN,
        automated_trading_live: bool | NotGiven = NOT_GIVEN,
    ) -> Agent | None:
        """Change what is given, leave the rest; None when there is no such agent."""
        ...

    async def set_automated_trading(self, agent_id: UUID, mode: TradingMode, enabled: bool) -> Agent | None:
        """Let the agent trade by itself in one mode, or stop it; None when there is no such agent."""
        ...

    async def load_config(self, agent_id: UUID) -> AgentTradingConfig | None:
        """The agent's configuration, whole: what is stored over the defaults; None when there is no such agent.

        Raises InvalidTradingConfig when what somebody else stored breaks the rules.
        """
        ...

    async def save_config(self, agent_id: UUID, config: AgentTradingConfig | None) -> AgentTradingConfig | None:
        """Store a whole configuration in the place of the agent's; None when there is no such agent.

        It is stored with every default written out. A ``config`` of None is all defaults, whatever they will be. Of two
        at the same time the last one stays: to change a part, :meth:`update_config`. Raises InvalidInput for what is
        no AgentTradingConfig (``from_json`` makes one of a document); InvalidTradingConfig.
        """
        ...

    async def update_config(self, agent_id: UUID, patch: Mapping[str, object]) -> AgentTradingConfig | None:
        """Change a part of the agent's configuration and give it whole; None when there is no such agent.

        ``patch`` is a document as JSON has it, ``{"stopLoss": {"enabled": False}}``, its numbers int or Decimal.
        Objects are merged, all else is replaced, unknown keys are dropped. The agent's row is locked meanwhile, so
        edits of different keys at the same time all survive. Raises InvalidInput; InvalidTradingConfig when the result
        breaks a rule: then nothing of the patch is stored.
        """
        ...

    async def find_config(self, agent_id: UUID) -> str | None:
        """What is stored of the configuration, as JSON text: ``{}`` for nothing. None when there is no such agent."""
        ...

    async def lock_config(self, agent_id: UUID) -> str | None:
        """The same in a block, until whose end nobody else changes the agent. Trades go on."""
        ...

    async def store_config(self, agent_id: UUID, document: JsonText | None) -> int:
        """Store JSON text as it is, its rules unchecked; None for all defaults. 0 when there is no such agent.

        :meth:`save_config` and :meth:`update_config` check first.
        """
        ...

    async def delete(self, agent_id: UUID) -> int:
        """Delete the agent with its wallets, positions, balances and ledger; 0 when there is none."""
        ...


class ApiKeyRepositoryProtocol(Protocol):
    """What lets programs in. A secret is shown once; the database has its hash."""

    async def create(
        self, user_id: UUID, name: str, scopes: Sequence[str] = ..., expires_at: datetime | None = None
    ) -> NewApiKey:
        """A new key of the user, for ever when ``expires_at`` is None; the only time that its secret is shown.

        Raises InvalidInput for a name of 0 or more than 100 characters, a list of scopes that is a text, or a time
        without zone; ForeignKeyViolation when there is no such user; CheckViolation when ``expires_at`` has passed.
        """
        ...

    async def verify(self, secret: str) -> VerifiedApiKey | None:
        """Whose key this is and what it may do; None when it is unknown, expired or revoked.

        What has not the form of a secret is None without a query. The use is recorded, once a minute at the most and
        without waiting for anybody: so not in a read-only transaction.
        """
        ...

    async def store(
        self,
        user_id: UUID,
        name: str,
        key_hash: ShortText,
        key_prefix: str,
        scopes: list[str],
        expires_at: AwareDatetime | None,
    ) -> ApiKey:
        """A new key of a secret made elsewhere: see :meth:`create`, which makes one."""
        ...

    async def verify_hash(self, key_hash: ShortText) -> VerifiedApiKey | None:
        """The same as :meth:`verify` by the secret's hash."""
        ...

    async def list_by_user(self, user_id: UUID, limit: Limit = 100) -> list[ApiKey]:
        """The user's keys, newest first, with those that have expired or were revoked."""
        ...

    async def revoke(self, user_id: UUID, key_id: UUID) -> ApiKey | None:
        """The key lets nobody in from now on, for ever; None when it is not the user's. The first time stays."""
        ...


class BalanceRepositoryProtocol(Protocol):
    """How much a wallet holds. Trades change it."""

    async def find_by_wallet_and_token(
        self, wallet_address: WalletAddress, token_address: TokenAddress
    ) -> AgentBalance | None:
        """The wallet's holding of this token; None when it never had any."""
        ...

    async def list_by_wallet(
        self, agent_id: UUID, wallet_address: WalletAddress, limit: Limit = 1000
    ) -> list[AgentBalance]:
        """What the wallet holds or held, by token address."""
        ...


class BalanceSnapshotRepositoryProtocol(Protocol):
    """What wallets were worth, hour by hour."""

    async def upsert(self, order: BalanceSnapshotOrder) -> AgentBalanceSnapshot:
        """Store a wallet's worth; one of the same wallet and time is replaced.

        Raises ForeignKeyViolation when the wallet is not the agent's.
        """
        ...

    async def create_many(self, orders: Sequence[BalanceSnapshotOrder]) -> int:
        """Store up to 10,000 in one statement; all of them or none. Of two for one wallet and time the last stays.

        Raises InvalidInput for more, ForeignKeyViolation when a wallet is not its agent's.
        """
        ...

    async def upsert_many(
        self,
        agent_ids: list[UUID],
        wallet_addresses: list[WalletAddress],
        snapshot_timestamps: list[AwareDatetime],
        portfolio_balances_sol: list[TokenNumber],
        sol_balances: list[TokenNumber],
        positions_values_sol: list[TokenNumber],
        unrealized_pnls_sol: list[TokenNumber],
    ) -> int:
        """The same with a list for each column, all of one length; returns how many were stored."""
        ...

    async def list_hourly(
        self, agent_id: UUID, wallet_address: WalletAddress, since: AwareDatetime, limit: Limit = 1000
    ) -> list[AgentBalanceSnapshot]:
        """The wallet's snapshots since this time, oldest first."""
        ...

    async def list_daily(
        self, agent_id: UUID, wallet_address: WalletAddress, limit: Limit = 10000
    ) -> list[AgentBalanceSnapshot]:
        """The wallet's snapshots of 00:00 UTC, whatever the session's time zone, oldest first."""
        ...

    async def find_latest(self, agent_id: UUID, wallet_address: WalletAddress) -> AgentBalanceSnapshot | None:
        """The wallet's last snapshot."""
        ...

    async def delete_older_than(self, before: AwareDatetime, limit: Limit = 1000) -> int:
        """Delete up to ``limit`` snapshots from before this time, oldest first; returns how many went.

        Call it until it returns less than ``limit``. Several may run: each takes rows that no other is deleting.
        """
        ...


class HistoricalSwapRepositoryProtocol(Protocol):
    """Closed positions. The sale that closes one writes it."""

    async def find_by_id(self, swap_id: UUID) -> AgentHistoricalSwap | None:
        """The closed trade of this id."""
        ...

    async def list_by_agent(
        self, agent_id: UUID, filter: SwapFilter = ..., before: BeforeUuid = ..., limit: Limit = 100
    ) -> list[AgentHistoricalSwap]:
        """The agent's closed trades, last sold first, from the given place on."""
        ...

    async def page_by_agent(
        self, agent_id: UUID, filter: SwapFilter = ..., limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentHistoricalSwap]:
        """A page of the agent's closed trades, last sold first: the first one, or the one of a page's ``next``.

        Raises InvalidInput for a cursor that is none of this list's, then for a limit outside of 1 to 9,999.
        """
        ...

    def stream_by_agent(self, agent_id: UUID, filter: SwapFilter = ...) -> AsyncIterator[AgentHistoricalSwap]:
        """All of the agent's closed trades, last sold first, in constant memory; holds a connection until its end."""
        ...

    async def count_by_agent(self, agent_id: UUID, filter: SwapFilter = ...) -> int:
        """How many trades the agent has closed."""
        ...

    async def total_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> ClosedTrades:
        """How many trades the wallet has closed, and what they brought."""
        ...


class PerformanceRepositoryProtocol(Protocol):
    """What agents and wallets have earned."""

    async def summarise(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None, since: AwareDatetime | None = None
    ) -> Performance:
        """Of the agent or one of its wallets, since this time or ever. All zero for an agent that does not exist."""
        ...


class PositionRepositoryProtocol(Protocol):
    """What was bought and not yet sold. Trades open, change and close it."""

    async def find_by_id(self, position_id: UUID) -> AgentPosition | None:
        """The open position, or None once it is closed."""
        ...

    async def find_by_wallet_and_token(
        self, agent_id: UUID, wallet_address: WalletAddress, token_address: TokenAddress
    ) -> AgentPosition | None:
        """The wallet's open position in this token."""
        ...

    async def list_by_agent(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None, limit: Limit = 1000
    ) -> list[AgentPosition]:
        """The agent's open positions, of one wallet or of all, newest first."""
        ...

    async def total_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> OpenPositions:
        """How many positions the wallet has open, and what their take-profits have brought."""
        ...


class SignalExecutionRepositoryProtocol(Protocol):
    """What agents did with signals: claimed once, finished once."""

    async def find(self, signal_id: int, agent_id: UUID) -> SignalExecution | None:
        """What this agent did with this signal."""
        ...

    async def create_pending(self, signal_id: int, agent_id: UUID) -> SignalExecution | None:
        """Claim the signal for the agent; None when it was claimed before, then :meth:`find` has it.

        Of two callers at once, one gets the execution. Raises ForeignKeyViolation without such a signal or agent.
        """
        ...

    async def finish(
        self, execution_id: UUID, status: FinalStatus, transaction_id: UUID | None = None, error: LongText | None = None
    ) -> SignalExecution | None:
        """Give a pending execution its final status; None when there is none, or it has one already."""
        ...

    async def mark_executed(self, execution_id: UUID, transaction_id: UUID) -> SignalExecution | None:
        """The agent made this transaction of it."""
        ...

    async def mark_failed(self, execution_id: UUID, error: LongText) -> SignalExecution | None:
        """The agent tried and failed."""
        ...

    async def mark_skipped(self, execution_id: UUID, reason: LongText) -> SignalExecution | None:
        """The agent decided not to act on it."""
        ...

    async def list_by_signal(self, signal_id: int, limit: Limit = 1000) -> list[SignalExecution]:
        """What the agents did with this signal, by agent."""
        ...

    async def list_stuck_pending(self, claimed_before: AwareDatetime, limit: Limit = 100) -> list[SignalExecution]:
        """Executions claimed before this time and never finished, oldest first."""
        ...


class SignalRepositoryProtocol(Protocol):
    """Suggestions to trade, each of one user."""

    async def find_by_id(self, signal_id: int) -> TradingSignal | None:
        """The signal of this id."""
        ...

    async def create(self, order: SignalOrder) -> TradingSignal:
        """A new signal. Raises ForeignKeyViolation when there is no such user."""
        ...

    async def create_many_of(self, user_id: UUID | None, orders: Sequence[SignalOrder]) -> list[TradingSignal]:
        """New signals of one user, up to 10,000 in one statement, in the order given; all of them or none.

        The orders' own ``user_id`` is not looked at. Raises InvalidInput for more, ForeignKeyViolation when there is
        no such user.
        """
        ...

    async def create_many(
        self,
        user_id: UUID | None,
        token_addresses: list[TokenAddress],
        symbols: list[SignalSymbol | None],
        signal_types: list[SignalType],
        activation_reasons: list[LongText | None],
        signal_strengths: list[SignalStrength],
        sources: list[SignalSource | None],
    ) -> list[TradingSignal]:
        """The same with a list for each column, all of one length."""
        ...

    async def list_by_user(
        self, user_id: UUID, filter: SignalFilter = ..., before: BeforeNumber = ..., limit: Limit = 100
    ) -> list[TradingSignal]:
        """The user's signals, newest first, from the given place on."""
        ...

    async def page_by_user(
        self, user_id: UUID, filter: SignalFilter = ..., limit: Limit = 100, cursor: str | None = None
    ) -> Page[TradingSignal]:
        """A page of the user's signals, newest first: the first one, or the one of a page's ``next``.

        Raises InvalidInput for a cursor that is none of this list's, then for a limit outside of 1 to 9,999.
        """
        ...

    def stream_by_user(self, user_id: UUID, filter: SignalFilter = ...) -> AsyncIterator[TradingSignal]:
        """All of the user's signals, newest first, in constant memory; it holds a connection until its end."""
        ...

    async def count_by_user(self, user_id: UUID, filter: SignalFilter = ...) -> int:
        """How many signals the user has."""
        ...

    async def list_eligible_agents(self, signal_id: int, limit: Limit = 1000) -> list[EligibleAgent]:
        """The agents that act on this signal: its creator's, automated in their mode, without an execution so far."""
        ...

    async def delete(self, signal_id: int) -> int:
        """Delete the signal with its executions; 0 when there is none. Transactions that name it stay."""
        ...


class TradeRequestRepositoryProtocol(Protocol):
    """Which orders were made."""

    async def list_by_ids(self, request_ids: list[UUID]) -> list[TradeRequest]:
        """Those of these requests that were made, by id; 10,000 may be asked for at once."""
        ...


class TradesProtocol(Protocol):
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

    async def deposit(self, order: DepositOrder) -> TradeResult:
        """Add an amount to the wallet."""
        ...

    async def withdraw(self, order: WithdrawOrder) -> TradeResult:
        """Take an amount from the wallet. Positions are not looked at."""
        ...

    async def burn(self, order: BurnOrder) -> TradeResult:
        """Take an amount from the wallet, as destroyed. Positions are not looked at."""
        ...

    async def swap(self, order: SwapOrder) -> TradeResult:
        """Take one token and add another. Positions are not looked at."""
        ...

    async def buy(self, order: BuyOrder) -> TradeResult:
        """Spend SOL on a token and open its position. Raises PositionExists."""
        ...

    async def dca_buy(self, order: DcaBuyOrder) -> TradeResult:
        """Spend SOL on more of an open position's token. Raises PositionNotFound, StalePosition."""
        ...

    async def take_profit(self, order: TakeProfitOrder) -> TradeResult:
        """Sell part of an open position; what leaves nothing over closes it.

        Raises PositionNotFound, StalePosition, Oversell, MoonBagTooLarge, SaleBeforePurchase.
        """
        ...

    async def sell(self, order: SellOrder) -> TradeResult:
        """Sell all that remains of an open position and close it.

        Raises PositionNotFound, Oversell, NotAFullSale, SaleBeforePurchase.
        """
        ...

    async def reset_wallet(self, order: ResetWalletOrder) -> ResetResult:
        """Burn all that a simulation wallet holds, give up its positions, deposit the opening SOL.

        Raises WalletNotSimulated.
        """
        ...


class TransactionRepositoryProtocol(Protocol):
    """The ledger. Trades add to it; nothing changes it."""

    async def find_by_id(self, transaction_id: UUID) -> AgentTransaction | None:
        """The transaction of this id: the request id of the trade that made it."""
        ...

    async def list_by_agent(
        self, agent_id: UUID, filter: TransactionFilter = ..., before: BeforeUuid = ..., limit: Limit = 100
    ) -> list[AgentTransaction]:
        """The agent's transactions, newest first, from the given place on."""
        ...

    async def page_by_agent(
        self, agent_id: UUID, filter: TransactionFilter = ..., limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentTransaction]:
        """A page of the agent's transactions, newest first: the first one, or the one of a page's ``next``.

        Raises InvalidInput for a cursor that is none of this list's, then for a limit outside of 1 to 9,999.
        """
        ...

    def stream_by_agent(self, agent_id: UUID, filter: TransactionFilter = ...) -> AsyncIterator[AgentTransaction]:
        """All of the agent's transactions, newest first, in constant memory; it holds a connection until its end."""
        ...

    async def count_by_agent(self, agent_id: UUID, filter: TransactionFilter = ...) -> int:
        """How many transactions the agent has."""
        ...


class UserRepositoryProtocol(Protocol):
    """Who owns agents."""

    async def find_by_id(self, user_id: UUID) -> User | None:
        """The user of this id."""
        ...

    async def find_by_email(self, email: ShortText) -> User | None:
        """The user of this e-mail address, whatever its case."""
        ...

    async def create(
        self, email: ShortText, password_hash: ShortText | None = None, user_id: UUID | None = None
    ) -> User:
        """A new user, under ``user_id`` when given. Raises EmailTaken, whatever the address's case."""
        ...

    async def update(
        self,
        user_id: UUID,
        email: ShortText | NotGiven = NOT_GIVEN,
        password_hash: ShortText | NotGiven | None = NOT_GIVEN,
    ) -> User | None:
        """Change what is given, leave the rest; None when there is no such user.

        A ``password_hash`` of None takes the password away. Raises EmailTaken when another user has the address, in
        any case.
        """
        ...

    async def record_failed_login(self, user_id: UUID) -> User | None:
        """Count a failed log-in, and give the user as it is now; None when there is no such user.

        Failures at the same time all count. The fifth locks the account for 15 minutes; later ones count and do not
        prolong that. Once the lock has run out, the next failure is the first of a new count.
        """
        ...

    async def reset_failed_logins(self, user_id: UUID) -> int:
        """Forget failures and lock after a log-in that succeeded; 0 when there was nothing to forget.

        Then nothing is written, so it may be called at every log-in.
        """
        ...

    async def is_locked(self, user_id: UUID) -> bool:
        """Whether too many failed log-ins lock the account at this moment; False when there is no such user."""
        ...

    async def delete(self, user_id: UUID) -> int:
        """Delete the user with its agents and everything of theirs; 0 when there is none. Its signals stay."""
        ...


class WalletRepositoryProtocol(Protocol):
    """Which addresses an agent trades from. No private key ever passes here."""

    async def create(self, wallet_address: WalletAddress, agent_id: UUID, wallet_type: TradingMode) -> AgentWallet:
        """Give the agent a wallet.

        Raises WalletTaken when the address is an agent's already, WalletTypeTaken when the agent has a wallet of
        this type, ForeignKeyViolation when there is no such agent.
        """
        ...

    async def list_by_agent(self, agent_id: UUID) -> list[AgentWallet]:
        """The agent's wallets, simulation first; two at the most."""
        ...

    async def delete(self, agent_id: UUID, wallet_address: WalletAddress) -> int:
        """Unassign the agent's wallet: delete it with its positions, balances and ledger; 0 when it is not the agent's.

        What the wallet holds on the chain is not touched.
        """
        ...
