"""A process that trades and reads on request, until it is killed: ``python -m tests.chaos.worker``.

It reads one JSON request a line and answers each with one. Servers and prefix come from the environment.

- ``{"trade": "buy", "order": {...}, "dies": false, "silent": false}``: answers what the trade changed, after it has
  checked that its own cache shows that. With ``dies`` it kills itself between COMMIT and cache; with ``silent`` it does
  not notify the cache, like a process without one.
- ``{"position": id, "version": n, "agent": id, "token": address}``: answers the versions of the position that each of
  the three cached reads returns.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from nexgent_db import Database
from nexgent_db.errors import DatabaseError, TradeRefused
from nexgent_db.models import SOL_MINT
from nexgent_db.models.trades import (
    BuyOrder,
    DcaBuyOrder,
    DepositOrder,
    SellOrder,
    TakeProfitOrder,
    TradeOrder,
    TradeResult,
)
from nexgent_db.settings import Settings

_ORDERS: Final[dict[str, type[TradeOrder]]] = {
    "deposit": DepositOrder,
    "buy": BuyOrder,
    "dca_buy": DcaBuyOrder,
    "take_profit": TakeProfitOrder,
    "sell": SellOrder,
}


def main() -> None:
    settings = Settings.from_env()
    with closing(_opened(settings)) as db, closing(_opened(replace(settings, redis_url=None))) as silent:
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                answer = _trade(silent if asked["silent"] else db, asked) if "trade" in asked else _read(db, asked)
            except DatabaseError as error:
                answer = {"failed": f"{type(error).__name__}: {error}"}
            except TradeRefused as error:
                answer = {"wrong": f"refused: {error}"}
            print(json.dumps(answer), flush=True)


def _opened(settings: Settings) -> Database:
    """As soon as the server is there: it may be killed while this process starts."""
    while True:
        db = Database(settings)
        try:
            db.open()
        except DatabaseError:
            time.sleep(0.05)
        else:
            return db


def _trade(db: Database, asked: dict[str, Any]) -> dict[str, Any]:
    order = _ORDERS[asked["trade"]].model_validate(asked["order"])
    if asked["dies"]:
        db.cache._writer._send = _die  # type: ignore[method-assign, assignment]
    result: TradeResult = getattr(db.trades, asked["trade"])(order)
    position = result.position
    return {
        "duplicate": result.duplicate,
        "position": None if position is None else str(position.id),
        "version": None if position is None else position.version,
        "wrong": None if asked["silent"] else _stale(db, result),
    }


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stale(db: Database, result: TradeResult) -> str | None:
    """The rows that this process reads otherwise from its cache than the trade returned them. No other process trades
    with the wallet."""
    if result.duplicate:  # the first result, whatever happened since
        return None
    owner = result.transaction
    assert owner.wallet_address is not None
    (sol,) = [row for row in result.balances if row.token_address == SOL_MINT]
    pairs: list[tuple[object, object]] = [
        (db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT), sol),
    ]
    if result.position is not None:
        pairs.append((db.cache.position(result.position.id), result.position))
    if result.closed_position_id is not None:
        pairs.append((db.cache.position(result.closed_position_id), None))
    differing = [f"read {cached} instead of {wanted}" for cached, wanted in pairs if cached != wanted]
    return "; ".join(differing) or None


def _read(db: Database, asked: dict[str, Any]) -> dict[str, Any]:
    position_id, version = UUID(asked["position"]), asked["version"]
    row = db.cache.position(position_id, at_least=version)
    sets = (
        db.cache.positions_of_agent(UUID(asked["agent"]), at_least=version),
        db.cache.positions_of_token(asked["token"], at_least=version),
    )
    found = [{each.id: each.version for each in rows}.get(position_id) for rows in sets]
    return {"versions": [None if row is None else row.version, *found]}


if __name__ == "__main__":
    main()
