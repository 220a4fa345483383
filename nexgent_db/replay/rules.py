"""Turns an event into an order, given the rest of the position in its token. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from nexgent_db.models.base import SOL_MINT
from nexgent_db.models.ids import request_id_of
from nexgent_db.models.trades import (
    BuyOrder,
    DcaBuyOrder,
    DepositOrder,
    SellOrder,
    SwapOrder,
    TakeProfitOrder,
    TradeOrder,
    WithdrawOrder,
)
from nexgent_db.replay.accounts import Account
from nexgent_db.replay.events import Event, Line, SwapEvent, TransferEvent

__all__ = ["order_of", "position_token"]


def position_token(event: Event) -> str | None:
    """The token whose open position decides the kind of order; None when the event concerns no position."""
    if isinstance(event, SwapEvent):
        if event.input_mint == SOL_MINT:
            return event.output_mint
        if event.output_mint == SOL_MINT:
            return event.input_mint
    return None


def order_of(line: Line, account: Account, remaining: Decimal | None) -> TradeOrder | None:
    """The order for the event; None when it is refused, because it sells more than the position holds.

    ``remaining`` is the rest of the open position in ``position_token(event)``, None without one.
    """
    event = line.event
    about: dict[str, Any] = {
        "request_id": request_id_of(account.wallet_address, event.tx_hash, line.leg),
        "agent_id": account.agent_id,
        "wallet_address": account.wallet_address,
        "transaction_time": event.time,
        "transaction_hash": event.tx_hash,
        "transaction_leg": line.leg,
    }
    if isinstance(event, TransferEvent):
        return _transfer(event, about)
    about["transaction_value_usd"] = event.input_usd
    if event.input_mint == SOL_MINT:
        return (BuyOrder if remaining is None else DcaBuyOrder)(
            token_address=event.output_mint,
            token_symbol=_shown(event.output_symbol, event.output_mint),
            sol_amount=event.input_amount,
            token_amount=event.output_amount,
            **about,
        )
    if event.output_mint == SOL_MINT and remaining is not None:
        if event.input_amount > remaining:
            return None
        return (SellOrder if event.input_amount == remaining else TakeProfitOrder)(
            token_address=event.input_mint,
            token_symbol=_shown(event.input_symbol, event.input_mint),
            sol_amount=event.output_amount,
            token_amount=event.input_amount,
            **about,
        )
    return SwapOrder(
        input_mint=event.input_mint,
        input_symbol=_shown(event.input_symbol, event.input_mint),
        input_amount=event.input_amount,
        output_mint=event.output_mint,
        output_symbol=_shown(event.output_symbol, event.output_mint),
        output_amount=event.output_amount,
        **about,
    )


def _shown(symbol: str, mint: str) -> str:
    """The symbol; if it is empty, the two ends of the address, as wallets show it."""
    return symbol or f"{mint[:4]}...{mint[-4:]}"


def _transfer(event: TransferEvent, about: dict[str, Any]) -> TradeOrder:
    about |= {
        "transaction_value_usd": event.amount_usd,
        "token_address": event.mint,
        "token_symbol": _shown(event.symbol, event.mint),
        "amount": event.amount,
    }
    if event.kind == "transfer_in":
        return DepositOrder(**about)
    return WithdrawOrder(destination_address=event.to or None, **about)
