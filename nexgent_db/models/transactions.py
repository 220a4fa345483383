"""Transactions: the ledger. Rows are added and never changed."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from nexgent_db.models.base import UUID, AwareDatetime, Percent, Row, TokenNumber, UsdNumber

TransactionType = Literal["DEPOSIT", "WITHDRAWAL", "SWAP", "BURN"]


class AgentTransaction(Row):
    """One entry of the ledger. ``transaction_leg`` distinguishes a wallet's entries of one on-chain transaction;
    ``realized_profit_sol`` is the profit that a sale or a write-off added to its position. ``settled_dust`` is what a
    sale "up to dust" added to the balance of its input, beyond the swap, to settle it with the position.
    """

    id: UUID
    agent_id: UUID
    wallet_address: str | None
    transaction_type: TransactionType
    transaction_value_usd: UsdNumber
    transaction_time: AwareDatetime
    destination_address: str | None
    signal_id: int | None
    fees: TokenNumber | None
    routes: JsonValue
    input_mint: str | None
    input_symbol: str | None
    input_amount: TokenNumber | None
    input_price: TokenNumber | None
    output_mint: str | None
    output_symbol: str | None
    output_amount: TokenNumber | None
    output_price: TokenNumber | None
    slippage: Percent | None
    price_impact: Percent | None
    is_dca: bool
    transaction_hash: str | None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    swap_payload: JsonValue
    is_take_profit: bool
    protocol_fee_sol: TokenNumber | None
    network_fee_sol: TokenNumber | None
    transaction_leg: int
    realized_profit_sol: TokenNumber | None
    settled_dust: TokenNumber | None
