"""A trade as a careful service writes it without this package: one transaction of eight or nine statements.

It keeps what a trade promises: the same locks, an order is executed once, no balance falls below zero, the ledger has
every change. The statements are the same for every driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from nexgent_db.models import SOL_MINT, BuyOrder, SellOrder, TakeProfitOrder
from tests.benchmarks.race.texts import Text

Order = BuyOrder | TakeProfitOrder | SellOrder
Values = dict[str, Any]

_SCALE: Final = Decimal("1e-18")


@dataclass(frozen=True)
class Step:
    """A statement of the transaction. ``finds`` is whether it has to return a row; the order is refused otherwise.

    ``then`` derives values of later steps from the row.
    """

    text: Text
    finds: bool = True
    then: Callable[[Values, Sequence[Any]], None] | None = None

    def judge(self, values: Values, row: Sequence[Any] | None) -> None:
        """Go on, or refuse the order."""
        if (row is not None) is not self.finds:
            raise RuntimeError(f"refused by: {self.text.named}")
        if self.then is not None and row is not None:
            self.then(values, row)


def values_of(order: Order, json: Callable[[Any], Any]) -> Values:
    """The parameters of an order's steps. ``json`` makes a document what the driver takes for jsonb."""
    fees = (order.protocol_fee_sol or Decimal(0)) + (order.network_fee_sol or Decimal(0))
    content = f"{order.request_id} {order.token_address} {order.sol_amount} {order.token_amount}"
    return {
        "request_id": order.request_id,
        "content_digest": sha256(content.encode()).digest(),
        "agent_id": order.agent_id,
        "wallet_address": order.wallet_address,
        "transaction_time": order.transaction_time or datetime.now(UTC),
        "usd": order.transaction_value_usd,
        "sol": SOL_MINT,
        "token_address": order.token_address,
        "token_symbol": order.token_symbol,
        "sol_amount": order.sol_amount,
        "sol_spent": order.sol_amount + fees,
        "sol_received": order.sol_amount - fees,
        "token_amount": order.token_amount,
        "price": (order.sol_amount / order.token_amount).quantize(_SCALE),
        "routes": json(order.routes),
        "swap_payload": json(order.swap_payload),
        "slippage": order.slippage,
        "price_impact": order.price_impact,
        "transaction_hash": order.transaction_hash,
        "transaction_leg": order.transaction_leg,
        "protocol_fee_sol": order.protocol_fee_sol,
        "network_fee_sol": order.network_fee_sol,
        "is_take_profit": isinstance(order, TakeProfitOrder),
        "stop_loss_percentage": getattr(order, "stop_loss_percentage", None),
        "take_profit_levels": getattr(order, "take_profit_levels", None),
        "levels_hit": getattr(order, "levels_hit", 0),
        "close_reason": getattr(order, "close_reason", None),
    }


def _after_position(values: Values, row: Sequence[Any]) -> None:
    """What the sale realises, and the figures of the historical swap if it closes the position."""
    position_id, bought, invested, proceeds, realized, purchase_id, price, created_at = row
    received: Decimal = proceeds + values["sol_received"]
    values.update(
        position_id=position_id,
        purchase_transaction_id=purchase_id,
        purchase_price=price,
        purchase_amount=bought,
        purchase_time=min(created_at, values["transaction_time"]),
        transaction_id_text=str(values["request_id"]),
        realized=(values["sol_received"] - values["token_amount"] / bought * invested).quantize(_SCALE),
        profit_sol=received - invested,
        profit_usd=values["usd"],
        sale_price=(received / bought).quantize(_SCALE),
        change_percent=(100 * (received - invested) / invested).quantize(Decimal("1e-4")),
        rest_realized=received - invested - realized,
    )


_LOCK: Final = """
SELECT w.wallet_address
FROM agents AS a
JOIN agent_wallets AS w ON w.agent_id = a.id
WHERE a.id = :agent_id AND w.wallet_address = :wallet_address
FOR KEY SHARE OF a
FOR NO KEY UPDATE OF w"""

_FIND_REQUEST: Final = "SELECT content_digest FROM race_requests WHERE id = :request_id"

_FIND_POSITION: Final = """
SELECT id
FROM agent_positions
WHERE agent_id = :agent_id AND wallet_address = :wallet_address AND token_address = :token_address"""

_LOCK_POSITION: Final = """
SELECT id, purchase_amount, total_invested_sol, proceeds_sol, realized_profit_sol, purchase_transaction_id,
    purchase_price, created_at
FROM agent_positions
WHERE agent_id = :agent_id AND wallet_address = :wallet_address AND token_address = :token_address
    AND coalesce(remaining_amount, purchase_amount) >= :token_amount
FOR UPDATE"""


def _debit(token: str, amount: str) -> str:
    return f"""
UPDATE agent_balances
SET balance = balance - :{amount}, last_updated = now()
WHERE wallet_address = :wallet_address AND token_address = :{token} AND balance >= :{amount}
RETURNING *"""


_CREDIT_TOKEN: Final = """
INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)
VALUES (:agent_id, :wallet_address, :token_address, :token_symbol, :token_amount)
ON CONFLICT (wallet_address, token_address) DO UPDATE
    SET balance = agent_balances.balance + excluded.balance, last_updated = now()
RETURNING *"""

_CREDIT_SOL: Final = """
UPDATE agent_balances
SET balance = balance + :sol_received, last_updated = now()
WHERE wallet_address = :wallet_address AND token_address = :sol
RETURNING *"""

_INSERT_TRANSACTION: Final = """
INSERT INTO agent_transactions (
    id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time, routes, input_mint,
    input_symbol, input_amount, input_price, output_mint, output_symbol, output_amount, output_price, slippage,
    price_impact, transaction_hash, transaction_leg, swap_payload, protocol_fee_sol, network_fee_sol,
    is_take_profit, realized_profit_sol
)
VALUES (
    :request_id, :agent_id, :wallet_address, 'SWAP', :usd, :transaction_time, :routes, {moves}, :slippage,
    :price_impact, :transaction_hash, :transaction_leg, :swap_payload, :protocol_fee_sol, :network_fee_sol,
    :is_take_profit, {realized}
)
RETURNING id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time, signal_id,
    input_mint, input_symbol, input_amount, input_price, output_mint, output_symbol, output_amount, output_price,
    slippage, price_impact, is_dca, transaction_hash, created_at, updated_at, is_take_profit, protocol_fee_sol,
    network_fee_sol, transaction_leg, realized_profit_sol"""

_SPENT: Final = ":sol, 'SOL', :sol_amount, 1, :token_address, :token_symbol, :token_amount, :price"
_SOLD: Final = ":token_address, :token_symbol, :token_amount, :price, :sol, 'SOL', :sol_amount, 1"

_INSERT_POSITION: Final = """
INSERT INTO agent_positions (
    agent_id, wallet_address, token_address, token_symbol, purchase_transaction_id, purchase_price, purchase_amount,
    remaining_amount, total_invested_sol, current_stop_loss_percentage, total_take_profit_levels
)
VALUES (
    :agent_id, :wallet_address, :token_address, :token_symbol, :request_id, :price, :token_amount, :token_amount,
    :sol_spent, :stop_loss_percentage, :take_profit_levels
)
RETURNING *"""

_REDUCE_POSITION: Final = """
UPDATE agent_positions
SET
    remaining_amount = coalesce(remaining_amount, purchase_amount) - :token_amount,
    take_profit_levels_hit = take_profit_levels_hit + :levels_hit,
    take_profit_transaction_ids = array_append(take_profit_transaction_ids, :transaction_id_text),
    last_take_profit_time = :transaction_time,
    proceeds_sol = proceeds_sol + :sol_received,
    realized_profit_sol = realized_profit_sol + :realized,
    updated_at = now()
WHERE id = :position_id
RETURNING *"""

_DELETE_POSITION: Final = "DELETE FROM agent_positions WHERE id = :position_id RETURNING id"

_INSERT_SWAP: Final = """
INSERT INTO agent_historical_swaps (
    agent_id, wallet_address, token_address, token_symbol, amount, purchase_price, sale_price, change_percent,
    profit_loss_usd, profit_loss_sol, purchase_time, sale_time, purchase_transaction_id, sale_transaction_id,
    close_reason
)
VALUES (
    :agent_id, :wallet_address, :token_address, :token_symbol, :purchase_amount, :purchase_price, :sale_price,
    :change_percent, :profit_usd, :profit_sol, :purchase_time, :transaction_time, :purchase_transaction_id,
    :request_id, :close_reason
)
RETURNING *"""


def _save_request(operation: str) -> str:
    return f"""
INSERT INTO race_requests (id, operation, content_digest)
VALUES (:request_id, '{operation}', :content_digest)
RETURNING id"""


def _steps(*steps: str | Step) -> tuple[Step, ...]:
    return tuple(step if isinstance(step, Step) else Step(Text(step.strip())) for step in steps)


STEPS: Final[Mapping[type[Order], tuple[Step, ...]]] = {
    BuyOrder: _steps(
        _LOCK,
        Step(Text(_FIND_REQUEST), finds=False),
        Step(Text(_FIND_POSITION.strip()), finds=False),
        _debit("sol", "sol_spent"),
        _CREDIT_TOKEN,
        _INSERT_TRANSACTION.format(moves=_SPENT, realized="NULL"),
        _INSERT_POSITION,
        _save_request("buy"),
    ),
    TakeProfitOrder: _steps(
        _LOCK,
        Step(Text(_FIND_REQUEST), finds=False),
        Step(Text(_LOCK_POSITION.strip()), then=_after_position),
        _debit("token_address", "token_amount"),
        _CREDIT_SOL,
        _INSERT_TRANSACTION.format(moves=_SOLD, realized=":realized"),
        _REDUCE_POSITION,
        _save_request("take_profit"),
    ),
    SellOrder: _steps(
        _LOCK,
        Step(Text(_FIND_REQUEST), finds=False),
        Step(Text(_LOCK_POSITION.strip()), then=_after_position),
        _debit("token_address", "token_amount"),
        _CREDIT_SOL,
        _INSERT_TRANSACTION.format(moves=_SOLD, realized=":rest_realized"),
        _INSERT_SWAP,
        _DELETE_POSITION,
        _save_request("sell"),
    ),
}
"""The statements between BEGIN and COMMIT, by the kind of order."""
