"""Frozen row models, one module for each aggregate, and the orders and results of trades. They know no I/O."""

from nexgent_db.models._base import SOL_MINT, Exact, Percent, TokenNumber, TradingMode, UsdNumber
from nexgent_db.models.agents import Agent, AgentWithWallets
from nexgent_db.models.api_keys import ApiKey
from nexgent_db.models.balance_snapshots import AgentBalanceSnapshot, BalanceSnapshotOrder
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.filters import SignalFilter, SwapFilter, TransactionFilter
from nexgent_db.models.historical_swaps import AgentHistoricalSwap, ClosedTrades, CloseReason
from nexgent_db.models.pages import BeforeNumber, BeforeUuid, Page
from nexgent_db.models.performance import Performance
from nexgent_db.models.positions import AgentPosition, OpenPositions
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
    WithdrawOrder,
    request_id_of,
)
from nexgent_db.models.transactions import AgentTransaction, TransactionType
from nexgent_db.models.users import User
from nexgent_db.models.wallets import AgentWallet

__all__ = [
    "SOL_MINT",
    "Agent",
    "AgentBalance",
    "AgentBalanceSnapshot",
    "AgentHistoricalSwap",
    "AgentPosition",
    "AgentTransaction",
    "AgentWallet",
    "AgentWithWallets",
    "ApiKey",
    "BalanceSnapshotOrder",
    "BeforeNumber",
    "BeforeUuid",
    "BurnOrder",
    "BuyOrder",
    "CloseReason",
    "ClosedTrades",
    "DcaBuyOrder",
    "DepositOrder",
    "EligibleAgent",
    "Exact",
    "ExecutionStatus",
    "FinalStatus",
    "OpenPositions",
    "Operation",
    "Page",
    "Percent",
    "Performance",
    "ResetResult",
    "ResetWalletOrder",
    "SellOrder",
    "SignalExecution",
    "SignalFilter",
    "SignalOrder",
    "SwapFilter",
    "SwapOrder",
    "TakeProfitOrder",
    "TokenNumber",
    "TradeRequest",
    "TradeResult",
    "TradingMode",
    "TradingSignal",
    "TransactionFilter",
    "TransactionType",
    "UsdNumber",
    "User",
    "WithdrawOrder",
    "request_id_of",
]
