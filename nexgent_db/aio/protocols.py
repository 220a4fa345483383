# Generated from nexgent_db/aio/repositories by `make sync`: do not edit.
"""A Protocol for each repository: what a service may put in its place. The class of that name says what is promised."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from pydantic import AwareDatetime

from nexgent_db.errors import TradeRefused
from nexgent_db.models.agents import Agent, AgentWithWallets
from nexgent_db.models.api_keys import (
    ApiKey,
    NewApiKey,
    VerifiedApiKey,
    VerifiedApiKeyWithEmail,
)
from nexgent_db.models.balance_snapshots import AgentBalanceSnapshot, BalanceSnapshotOrder
from nexgent_db.models.balances import AgentBalance, LedgerDifference
from nexgent_db.models.base import (
    CellName,
    Email,
    Limit,
    LongText,
    Name,
    RowLimit,
    ShortText,
    TokenAddress,
    TokenNumber,
    TradingMode,
    WalletAddress,
)
from nexgent_db.models.filters import AgentFilter, PositionFilter, SignalFilter, SwapFilter, TransactionFilter
from nexgent_db.models.historical_swaps import AgentHistoricalSwap, ClosedTrades
from nexgent_db.models.pages import (
    AfterAddress,
    AfterTime,
    AfterToken,
    AfterUuid,
    BeforeNumber,
    BeforeUuid,
    Page,
)
from nexgent_db.models.performance import Performance
from nexgent_db.models.positions import (
    AgentPosition,
    OpenPositions,
    OpenToken,
    PriceUpdate,
    RecordedPrices,
    TakeProfitSummary,
)
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
from nexgent_db.models.storable import JsonText, Timestamp
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
    WalletOrder,
    WithdrawOrder,
    WriteOffOrder,
)
from nexgent_db.models.trading_config import AgentTradingConfig
from nexgent_db.models.transactions import AgentTransaction
from nexgent_db.models.user_cells import CellUsers, UserCell
from nexgent_db.models.users import User, Users
from nexgent_db.models.wallets import AgentWallet
from nexgent_db.queries.values import NOT_GIVEN, NotGiven

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
    "UserCellRepositoryProtocol",
    "UserRepositoryProtocol",
    "WalletRepositoryProtocol",
]


class AgentRepositoryProtocol(Protocol):
    """What :class:`AgentRepository` offers."""

    async def find_by_id(self, agent_id: UUID) -> AgentWithWallets | None: ...
    async def list_with_wallets_by_id(self, agent_id: UUID) -> list[tuple[Agent, AgentWallet | None]]: ...
    async def find_by_user_id(self, user_id: UUID, limit: Limit | None = None) -> list[AgentWithWallets]: ...
    async def page_by_user_id(
        self, user_id: UUID, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentWithWallets]: ...
    async def list_with_wallets_by_user_id(
        self, user_id: UUID, before: BeforeUuid, limit: RowLimit
    ) -> list[tuple[Agent, AgentWallet | None]]: ...
    async def list_all(
        self, filter: AgentFilter = ..., after: AfterUuid = ..., limit: Limit | None = None
    ) -> list[AgentWithWallets]: ...
    async def page_all(
        self, filter: AgentFilter = ..., limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentWithWallets]: ...
    async def list_all_with_wallets(
        self, filter: AgentFilter, after: AfterUuid, limit: RowLimit
    ) -> list[tuple[Agent, AgentWallet | None]]: ...
    def stream_all(self, filter: AgentFilter = ...) -> AsyncIterator[AgentWithWallets]: ...
    def stream_all_with_wallets(self, filter: AgentFilter = ...) -> AsyncIterator[tuple[Agent, AgentWallet | None]]: ...
    async def find_wallet_by_agent_id(self, agent_id: UUID, wallet_type: TradingMode) -> AgentWallet | None: ...
    async def find_wallet_by_address(self, wallet_address: WalletAddress) -> AgentWallet | None: ...
    async def find_default_wallet(self, agent_id: UUID) -> AgentWallet | None: ...
    async def create(
        self, user_id: UUID, name: Name, trading_mode: TradingMode = "simulation", agent_id: UUID | None = None
    ) -> Agent: ...
    async def update(
        self,
        agent_id: UUID,
        name: Name | NotGiven = NOT_GIVEN,
        trading_mode: TradingMode | NotGiven = NOT_GIVEN,
        automated_trading_simulation: bool | NotGiven = NOT_GIVEN,
        automated_trading_live: bool | NotGiven = NOT_GIVEN,
    ) -> Agent | None: ...
    async def set_automated_trading(self, agent_id: UUID, mode: TradingMode, enabled: bool) -> Agent | None: ...
    async def load_config(self, agent_id: UUID) -> AgentTradingConfig | None: ...
    async def save_config(self, agent_id: UUID, config: AgentTradingConfig | None) -> AgentTradingConfig | None: ...
    async def update_config(self, agent_id: UUID, patch: Mapping[str, object]) -> AgentTradingConfig | None: ...
    async def find_config(self, agent_id: UUID) -> str | None: ...
    async def lock_config(self, agent_id: UUID) -> str | None: ...
    async def store_config(self, agent_id: UUID, document: JsonText | None) -> int: ...
    async def delete(self, agent_id: UUID) -> int: ...


class ApiKeyRepositoryProtocol(Protocol):
    """What :class:`ApiKeyRepository` offers."""

    async def create(
        self, user_id: UUID, name: str, scopes: Sequence[str] = ..., expires_at: datetime | None = None
    ) -> NewApiKey: ...
    async def verify(self, secret: str) -> VerifiedApiKey | None: ...
    async def verify_with_email(self, secret: str) -> VerifiedApiKeyWithEmail | None: ...
    async def find_by_id(self, key_id: UUID) -> ApiKey | None: ...
    async def store(
        self,
        user_id: UUID,
        name: str,
        key_hash: ShortText,
        key_prefix: str,
        scopes: list[str],
        expires_at: Timestamp | None,
    ) -> ApiKey: ...
    async def verify_hash(self, key_hash: ShortText) -> VerifiedApiKey | None: ...
    async def verify_hash_with_email(self, key_hash: ShortText) -> VerifiedApiKeyWithEmail | None: ...
    async def list_by_user(
        self, user_id: UUID, before: BeforeUuid = ..., limit: Limit | None = None
    ) -> list[ApiKey]: ...
    async def page_by_user(self, user_id: UUID, limit: Limit = 100, cursor: str | None = None) -> Page[ApiKey]: ...
    async def revoke(self, user_id: UUID, key_id: UUID) -> ApiKey | None: ...


class BalanceRepositoryProtocol(Protocol):
    """What :class:`BalanceRepository` offers."""

    async def find_by_wallet_and_token(
        self, wallet_address: WalletAddress, token_address: TokenAddress
    ) -> AgentBalance | None: ...
    async def list_by_wallet(
        self, agent_id: UUID, wallet_address: WalletAddress, limit: Limit | None = None, after: AfterToken = ...
    ) -> list[AgentBalance]: ...
    async def page_by_wallet(
        self, agent_id: UUID, wallet_address: WalletAddress, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentBalance]: ...
    async def list_by_wallets(
        self, token_address: TokenAddress, wallet_addresses: list[WalletAddress]
    ) -> list[AgentBalance]: ...
    async def list_ledger_differences(
        self, wallet_address: WalletAddress, limit: Limit | None = None
    ) -> list[LedgerDifference]: ...


class BalanceSnapshotRepositoryProtocol(Protocol):
    """What :class:`BalanceSnapshotRepository` offers."""

    async def upsert(self, order: BalanceSnapshotOrder) -> AgentBalanceSnapshot: ...
    async def create_many(self, orders: Sequence[BalanceSnapshotOrder]) -> int: ...
    async def upsert_many(
        self,
        agent_ids: list[UUID],
        wallet_addresses: list[WalletAddress],
        snapshot_timestamps: list[Timestamp],
        portfolio_balances_sol: list[TokenNumber],
        sol_balances: list[TokenNumber],
        positions_values_sol: list[TokenNumber],
        unrealized_pnls_sol: list[TokenNumber],
    ) -> int: ...
    async def list_hourly(
        self, agent_id: UUID, wallet_address: WalletAddress, since: AwareDatetime, limit: Limit | None = None
    ) -> list[AgentBalanceSnapshot]: ...
    async def list_daily(
        self, agent_id: UUID, wallet_address: WalletAddress, limit: Limit | None = None
    ) -> list[AgentBalanceSnapshot]: ...
    async def find_latest(self, agent_id: UUID, wallet_address: WalletAddress) -> AgentBalanceSnapshot | None: ...
    async def delete_older_than(self, before: AwareDatetime, limit: Limit = 1000) -> int: ...


class HistoricalSwapRepositoryProtocol(Protocol):
    """What :class:`HistoricalSwapRepository` offers."""

    async def find_by_id(self, swap_id: UUID) -> AgentHistoricalSwap | None: ...
    async def list_by_agent(
        self, agent_id: UUID, filter: SwapFilter = ..., before: BeforeUuid = ..., limit: Limit | None = None
    ) -> list[AgentHistoricalSwap]: ...
    async def page_by_agent(
        self, agent_id: UUID, filter: SwapFilter = ..., limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentHistoricalSwap]: ...
    def stream_by_agent(self, agent_id: UUID, filter: SwapFilter = ...) -> AsyncIterator[AgentHistoricalSwap]: ...
    async def list_with_signal(
        self, agent_id: UUID, filter: SwapFilter = ..., before: BeforeUuid = ..., limit: Limit | None = None
    ) -> list[tuple[AgentHistoricalSwap, TradingSignal | None]]: ...
    async def page_with_signal(
        self, agent_id: UUID, filter: SwapFilter = ..., limit: Limit = 100, cursor: str | None = None
    ) -> Page[tuple[AgentHistoricalSwap, TradingSignal | None]]: ...
    def stream_with_signal(
        self, agent_id: UUID, filter: SwapFilter = ...
    ) -> AsyncIterator[tuple[AgentHistoricalSwap, TradingSignal | None]]: ...
    async def count_by_agent(self, agent_id: UUID, filter: SwapFilter = ...) -> int: ...
    async def total_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> ClosedTrades: ...


class PerformanceRepositoryProtocol(Protocol):
    """What :class:`PerformanceRepository` offers."""

    async def summarise(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress | None = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
    ) -> Performance: ...


class PositionRepositoryProtocol(Protocol):
    """What :class:`PositionRepository` offers."""

    async def find_by_id(self, position_id: UUID) -> AgentPosition | None: ...
    async def find_by_wallet_and_token(
        self, agent_id: UUID, wallet_address: WalletAddress, token_address: TokenAddress
    ) -> AgentPosition | None: ...
    async def list_by_agent(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None, limit: Limit | None = None
    ) -> list[AgentPosition]: ...
    async def total_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> OpenPositions: ...
    async def list_open(
        self, filter: PositionFilter = ..., after: AfterUuid = ..., limit: Limit | None = None
    ) -> list[AgentPosition]: ...
    async def page_open(
        self, filter: PositionFilter = ..., limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentPosition]: ...
    def stream_open(self, filter: PositionFilter = ...) -> AsyncIterator[AgentPosition]: ...
    async def list_open_tokens(self, after: AfterToken = ..., limit: Limit | None = None) -> list[OpenToken]: ...
    async def page_open_tokens(self, limit: Limit = 100, cursor: str | None = None) -> Page[OpenToken]: ...
    def stream_open_tokens(self) -> AsyncIterator[OpenToken]: ...
    async def list_by_token(
        self, token_address: TokenAddress, before: BeforeUuid = ..., limit: Limit | None = None
    ) -> list[AgentPosition]: ...
    async def page_by_token(
        self, token_address: TokenAddress, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentPosition]: ...
    async def list_by_user(
        self, user_id: UUID, before: BeforeUuid = ..., limit: Limit | None = None
    ) -> list[AgentPosition]: ...
    async def page_by_user(
        self, user_id: UUID, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentPosition]: ...
    async def list_with_take_profit_activity(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress | None = None,
        before: BeforeUuid = ...,
        limit: Limit | None = None,
    ) -> list[AgentPosition]: ...
    async def list_moon_bags(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress | None = None,
        before: BeforeUuid = ...,
        limit: Limit | None = None,
    ) -> list[AgentPosition]: ...
    async def summarise_take_profits(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None
    ) -> TakeProfitSummary: ...
    async def list_with_purchase(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress | None = None,
        before: BeforeUuid = ...,
        limit: Limit | None = None,
    ) -> list[tuple[AgentPosition, AgentTransaction]]: ...
    async def page_with_purchase(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None, limit: Limit = 100, cursor: str | None = None
    ) -> Page[tuple[AgentPosition, AgentTransaction]]: ...
    def stream_with_purchase(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None
    ) -> AsyncIterator[tuple[AgentPosition, AgentTransaction]]: ...
    async def record_prices(self, prices: Sequence[PriceUpdate]) -> RecordedPrices: ...


class SignalExecutionRepositoryProtocol(Protocol):
    """What :class:`SignalExecutionRepository` offers."""

    async def find(self, signal_id: int, agent_id: UUID) -> SignalExecution | None: ...
    async def create_pending(self, signal_id: int, agent_id: UUID) -> SignalExecution | None: ...
    async def finish(
        self, execution_id: UUID, status: FinalStatus, transaction_id: UUID | None = None, error: LongText | None = None
    ) -> SignalExecution | None: ...
    async def mark_executed(self, execution_id: UUID, transaction_id: UUID) -> SignalExecution | None: ...
    async def mark_failed(self, execution_id: UUID, error: LongText) -> SignalExecution | None: ...
    async def mark_skipped(self, execution_id: UUID, reason: LongText) -> SignalExecution | None: ...
    async def list_by_signal(self, signal_id: int, limit: Limit | None = None) -> list[SignalExecution]: ...
    async def list_stuck_pending(
        self, claimed_before: AwareDatetime, limit: Limit | None = None
    ) -> list[SignalExecution]: ...


class SignalRepositoryProtocol(Protocol):
    """What :class:`SignalRepository` offers."""

    async def find_by_id(self, signal_id: int) -> TradingSignal | None: ...
    async def create(self, order: SignalOrder) -> TradingSignal: ...
    async def create_many_of(self, user_id: UUID | None, orders: Sequence[SignalOrder]) -> list[TradingSignal]: ...
    async def create_many(
        self,
        user_id: UUID | None,
        token_addresses: list[TokenAddress],
        symbols: list[SignalSymbol | None],
        signal_types: list[SignalType],
        activation_reasons: list[LongText | None],
        signal_strengths: list[SignalStrength],
        sources: list[SignalSource | None],
    ) -> list[TradingSignal]: ...
    async def update(
        self,
        signal_id: int,
        token_address: TokenAddress | NotGiven = NOT_GIVEN,
        symbol: SignalSymbol | NotGiven | None = NOT_GIVEN,
        signal_type: SignalType | NotGiven = NOT_GIVEN,
        activation_reason: LongText | NotGiven | None = NOT_GIVEN,
        signal_strength: SignalStrength | NotGiven = NOT_GIVEN,
        source: SignalSource | NotGiven | None = NOT_GIVEN,
    ) -> TradingSignal | None: ...
    async def list_by_user(
        self, user_id: UUID, filter: SignalFilter = ..., before: BeforeNumber = ..., limit: Limit | None = None
    ) -> list[TradingSignal]: ...
    async def page_by_user(
        self, user_id: UUID, filter: SignalFilter = ..., limit: Limit = 100, cursor: str | None = None
    ) -> Page[TradingSignal]: ...
    def stream_by_user(self, user_id: UUID, filter: SignalFilter = ...) -> AsyncIterator[TradingSignal]: ...
    async def count_by_user(self, user_id: UUID, filter: SignalFilter = ...) -> int: ...
    async def list_eligible_agents(self, signal_id: int, limit: Limit | None = None) -> list[EligibleAgent]: ...
    async def delete(self, signal_id: int) -> int: ...


class TradeRequestRepositoryProtocol(Protocol):
    """What :class:`TradeRequestRepository` offers."""

    async def list_by_ids(self, trade_ids: list[UUID]) -> list[TradeRequest]: ...
    async def prune(self, before: AwareDatetime, limit: int = 1000) -> int: ...


class TradesProtocol(Protocol):
    """What :class:`Trades` offers."""

    async def deposit(self, order: DepositOrder) -> TradeResult: ...
    async def withdraw(self, order: WithdrawOrder) -> TradeResult: ...
    async def burn(self, order: BurnOrder) -> TradeResult: ...
    async def swap(self, order: SwapOrder) -> TradeResult: ...
    async def buy(self, order: BuyOrder) -> TradeResult: ...
    async def dca_buy(self, order: DcaBuyOrder) -> TradeResult: ...
    async def take_profit(self, order: TakeProfitOrder) -> TradeResult: ...
    async def sell(self, order: SellOrder) -> TradeResult: ...
    async def write_off(self, order: WriteOffOrder) -> TradeResult: ...
    async def reset_wallet(self, order: ResetWalletOrder) -> ResetResult: ...
    async def execute_many(
        self, orders: Sequence[WalletOrder], *, atomic: bool = True, progress: Callable[[int, int], None] | None = None
    ) -> list[TradeResult | ResetResult | TradeRefused]: ...


class TransactionRepositoryProtocol(Protocol):
    """What :class:`TransactionRepository` offers."""

    async def find_by_id(self, transaction_id: UUID) -> AgentTransaction | None: ...
    async def list_by_ids(self, transaction_ids: list[UUID]) -> list[AgentTransaction]: ...
    async def list_by_agent(
        self, agent_id: UUID, filter: TransactionFilter = ..., before: BeforeUuid = ..., limit: Limit | None = None
    ) -> list[AgentTransaction]: ...
    async def page_by_agent(
        self, agent_id: UUID, filter: TransactionFilter = ..., limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentTransaction]: ...
    def stream_by_agent(self, agent_id: UUID, filter: TransactionFilter = ...) -> AsyncIterator[AgentTransaction]: ...
    async def count_by_agent(self, agent_id: UUID, filter: TransactionFilter = ...) -> int: ...


class UserCellRepositoryProtocol(Protocol):
    """What :class:`UserCellRepository` offers."""

    async def find_by_user_id(self, user_id: UUID) -> UserCell | None: ...
    async def create(self, user_id: UUID, cell: CellName) -> UserCell: ...
    async def update(self, user_id: UUID, from_cell: CellName, to_cell: CellName) -> UserCell | None: ...
    async def delete(self, user_id: UUID, cell: CellName) -> int: ...
    async def list_by_cell(self, cell: CellName, limit: Limit, after: UUID = ...) -> list[UserCell]: ...
    async def count_per_cell(self, limit: Limit) -> list[CellUsers]: ...


class UserRepositoryProtocol(Protocol):
    """What :class:`UserRepository` offers."""

    async def find_by_id(self, user_id: UUID) -> User | None: ...
    async def find_by_email(self, email: ShortText) -> User | None: ...
    async def find_first(self) -> User | None: ...
    async def list(self, after: AfterTime = ..., limit: Limit | None = None) -> Users: ...
    async def page(self, limit: Limit = 100, cursor: str | None = None) -> Page[User]: ...
    async def create(
        self, email: Email, password_hash: ShortText | None = None, user_id: UUID | None = None
    ) -> User: ...
    async def update(
        self, user_id: UUID, email: Email | NotGiven = NOT_GIVEN, password_hash: ShortText | NotGiven | None = NOT_GIVEN
    ) -> User | None: ...
    async def begin_login(self, user_id: UUID) -> User | None: ...
    async def record_failed_login(self, user_id: UUID) -> User | None: ...
    async def reset_failed_logins(self, user_id: UUID) -> int: ...
    async def is_locked(self, user_id: UUID) -> bool: ...
    async def delete(self, user_id: UUID) -> int: ...


class WalletRepositoryProtocol(Protocol):
    """What :class:`WalletRepository` offers."""

    async def create(self, wallet_address: WalletAddress, agent_id: UUID, wallet_type: TradingMode) -> AgentWallet: ...
    async def list_by_agent(self, agent_id: UUID) -> list[AgentWallet]: ...
    async def list_all(
        self, wallet_type: TradingMode | None = None, after: AfterAddress = ..., limit: Limit | None = None
    ) -> list[AgentWallet]: ...
    async def page_all(
        self, wallet_type: TradingMode | None = None, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentWallet]: ...
    async def find_with_agent(self, wallet_address: WalletAddress) -> tuple[AgentWallet, Agent] | None: ...
    async def change_address(
        self, agent_id: UUID, wallet_address: WalletAddress, new_address: WalletAddress
    ) -> AgentWallet | None: ...
    async def delete(self, agent_id: UUID, wallet_address: WalletAddress) -> int: ...
