"""The ways in which callers send orders, in both flavours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from nexgent_db import AsyncDatabase, AsyncTransaction, Database, Transaction
from nexgent_db.errors import TradeRefused
from nexgent_db.models.trades import ResetResult, TradeResult, WalletOrder

Result = TradeResult | ResetResult | TradeRefused
Orders = Sequence[tuple[str, WalletOrder]]
TOGETHER: Final = ("transaction", "pipeline", "run_transaction", "many")
"""How several orders are sent as one transaction."""


def execute(db: Database, how: str, orders: Orders) -> Sequence[Result]:
    """The result or refusal of each order, all in one transaction unless it is one ``single`` order."""
    if how == "single":
        return _each(db, orders)
    if how == "many":
        return db.trades.execute_many([order for _, order in orders])
    if how == "run_transaction":
        return db.run_transaction(lambda tx: _each(tx, orders))
    with db.transaction(pipeline=how == "pipeline") as tx:
        return _each(tx, orders)


def _each(where: Database | Transaction, orders: Orders) -> list[Result]:
    results: list[Result] = []
    for kind, order in orders:
        try:
            results.append(getattr(where.trades, kind)(order))
        except TradeRefused as refused:
            results.append(refused)
    return results


async def execute_async(db: AsyncDatabase, how: str, orders: Orders) -> Sequence[Result]:
    """As :func:`execute` does."""
    if how == "single":
        return await _each_async(db, orders)
    if how == "many":
        return await db.trades.execute_many([order for _, order in orders])
    if how == "run_transaction":
        return await db.run_transaction(lambda tx: _each_async(tx, orders))
    async with db.transaction(pipeline=how == "pipeline") as tx:
        return await _each_async(tx, orders)


async def _each_async(where: AsyncDatabase | AsyncTransaction, orders: Orders) -> list[Result]:
    results: list[Result] = []
    for kind, order in orders:
        call: Callable[[Any], Awaitable[Result]] = getattr(where.trades, kind)
        try:
            results.append(await call(order))
        except TradeRefused as refused:
            results.append(refused)
    return results
