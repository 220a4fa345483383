"""Frozen row models, one module for each aggregate, and the orders and results of trades. They know no I/O."""

from nexgent_db.models.agents import Agent, AgentWithWallets
from nexgent_db.models.api_keys import FULL_ACCESS, ApiKey, NewApiKey, VerifiedApiKey, has_scope
from nexgent_db.models.balance_snapshots import AgentBalanceSnapshot, BalanceSnapshotOrder
from nexgent_db.models.balances import AgentBalance, LedgerDifference
from nexgent_db.models.base import SOL_MINT, Exact, Percent, TokenNumber, TradingMode, UsdNumber
from nexgent_db.models.cache import TokenPrice, TradingFlags
from nexgent_db.models.filters import PositionFilter, SignalFilter, SwapFilter, TransactionFilter
from nexgent_db.models.historical_swaps import AgentHistoricalSwap, ClosedTrades, CloseReason
from nexgent_db.models.pages import AfterToken, AfterUuid, BeforeNumber, BeforeUuid, Page
from nexgent_db.models.performance import Performance
from nexgent_db.models.positions import AgentPosition, OpenPositions, OpenToken, TakeProfitSummary
from nexgent_db.models.signals import (
    EligibleAgent,
    ExecutionStatus,
    FinalStatus,
    SignalExecution,
    SignalOrder,
    TradingSignal,
)
from nexgent_db.models.trade_requests import Operation, TradeRequest
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
    request_id_of,
)
from nexgent_db.models.trading_config import AgentTradingConfig
from nexgent_db.models.trading_sections import (
    BalanceThresholds,
    Dca,
    DcaLevel,
    MoonBag,
    PositionCalculator,
    PositionSizes,
    PurchaseLimits,
    Randomization,
    Signals,
    SizeRange,
    StaleTrade,
    StopLoss,
    TakeProfit,
    TakeProfitLevel,
    TrailingLevel,
)
from nexgent_db.models.transactions import AgentTransaction, TransactionType
from nexgent_db.models.users import User
from nexgent_db.models.wallets import AgentWallet

__all__ = [
    "FULL_ACCESS",
    "SOL_MINT",
    "AfterToken",
    "AfterUuid",
    "Agent",
    "AgentBalance",
    "AgentBalanceSnapshot",
    "AgentHistoricalSwap",
    "AgentPosition",
    "AgentTradingConfig",
    "AgentTransaction",
    "AgentWallet",
    "AgentWithWallets",
    "ApiKey",
    "BalanceSnapshotOrder",
    "BalanceThresholds",
    "BeforeNumber",
    "BeforeUuid",
    "BurnOrder",
    "BuyOrder",
    "CloseReason",
    "ClosedTrades",
    "Dca",
    "DcaBuyOrder",
    "DcaLevel",
    "DepositOrder",
    "EligibleAgent",
    "Exact",
    "ExecutionStatus",
    "FinalStatus",
    "LedgerDifference",
    "MoonBag",
    "NewApiKey",
    "OpenPositions",
    "OpenToken",
    "Operation",
    "Page",
    "Percent",
    "Performance",
    "PositionCalculator",
    "PositionFilter",
    "PositionSizes",
    "PurchaseLimits",
    "Randomization",
    "ResetResult",
    "ResetWalletOrder",
    "SellOrder",
    "SignalExecution",
    "SignalFilter",
    "SignalOrder",
    "Signals",
    "SizeRange",
    "StaleTrade",
    "StopLoss",
    "SwapFilter",
    "SwapOrder",
    "TakeProfit",
    "TakeProfitLevel",
    "TakeProfitOrder",
    "TakeProfitSummary",
    "TokenNumber",
    "TokenPrice",
    "TradeRequest",
    "TradeResult",
    "TradingFlags",
    "TradingMode",
    "TradingSignal",
    "TrailingLevel",
    "TransactionFilter",
    "TransactionType",
    "UsdNumber",
    "User",
    "VerifiedApiKey",
    "WalletOrder",
    "WithdrawOrder",
    "has_scope",
    "request_id_of",
]
