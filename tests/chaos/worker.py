"""What a process does that trades and reads on request, until it is killed: see child.py.

It answers each question with one answer. Servers and prefix come from the environment.

- ``{"orders": [("buy", order), ...], "how": "many", "dies": false, "silent": false}``: answers what each order changed,
  after it has compared its own cache with that. How: one ``single`` order, all in one ``transaction``, ``pipeline`` or
  ``run_transaction``, or ``many`` by execute_many. With ``dies`` it kills itself between COMMIT and cache; with
  ``silent`` it does not notify the cache, like a process without one.
- ``{"position": id, "version": n, "agent": id, "token": address}``: answers the versions of the position that each of
  the three cached reads returns.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any
from uuid import UUID

from nexgent_db import Database, cli
from nexgent_db.errors import DatabaseError, TradeRefused
from nexgent_db.models import AgentBalance, AgentPosition
from nexgent_db.models.trades import ResetResult, TradeResult
from nexgent_db.settings import Settings
from tests.chaos.sending import Orders, Result, execute


def serve(connection: Connection) -> None:
    """Answer questions until the caller is gone."""
    settings = Settings.from_env()
    with closing(_opened(settings)) as db, closing(_opened(replace(settings, redis_url=None))) as silent:
        while True:
            try:
                asked = connection.recv()
            except EOFError:
                return
            try:
                answer = _trade(silent if asked["silent"] else db, asked) if "orders" in asked else _read(db, asked)
            except DatabaseError as error:
                answer = {"failed": f"{type(error).__name__}: {error}"}
            connection.send(answer)


def relay(follow: bool, _: Connection) -> None:
    """Bring the outbox into the cache, as the command does: to its end, or for ever."""
    sys.argv[1:] = ["cache", "relay", *(["--follow"] if follow else [])]
    cli.main()  # exits


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
    orders = asked["orders"]
    if asked["dies"]:
        db.cache._writer._send = _die  # type: ignore[method-assign, assignment]
    results = execute(db, asked["how"], orders)
    return {
        "results": [_described(result) for result in results],
        "stale": [] if asked["silent"] else stale_rows(db, orders, results),
    }


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _described(result: Result) -> dict[str, Any]:
    if isinstance(result, TradeRefused):
        return {"refused": type(result).__name__}
    position = result.position if isinstance(result, TradeResult) else None
    return {
        "refused": None,
        "duplicate": result.duplicate,
        "position": None if position is None else str(position.id),
        "version": None if position is None else position.version,
    }


def stale_rows(db: Database, orders: Orders, results: Sequence[Result]) -> list[str]:
    """The rows that this process reads otherwise from its cache than the trades returned them. No other process trades
    with the wallet."""
    balances: dict[str, AgentBalance] = {}
    positions: dict[UUID, AgentPosition | None] = {}
    for result in results:
        if isinstance(result, TradeRefused):
            continue
        if result.duplicate:  # the first result, whatever happened since
            return []
        balances |= {row.token_address: row for row in result.balances}
        if isinstance(result, ResetResult):
            positions |= dict.fromkeys(result.closed_position_ids)
        elif result.position is not None:
            positions[result.position.id] = result.position
        elif result.closed_position_id is not None:
            positions[result.closed_position_id] = None
    _, order = orders[0]
    found: list[tuple[object, object]] = [
        (db.cache.balance(order.agent_id, order.wallet_address, token), row) for token, row in balances.items()
    ]
    found += [(db.cache.position(position_id), row) for position_id, row in positions.items()]
    if positions:
        of_agent = {row.id: row for row in db.cache.positions_of_agent(order.agent_id)}
        found += [(of_agent.get(position_id), row) for position_id, row in positions.items()]
    return [f"read {cached} instead of {wanted}" for cached, wanted in found if cached != wanted]


def _read(db: Database, asked: dict[str, Any]) -> dict[str, Any]:
    position_id, version = UUID(asked["position"]), asked["version"]
    row = db.cache.position(position_id, at_least=version)
    sets = (
        db.cache.positions_of_agent(UUID(asked["agent"]), at_least=version),
        db.cache.positions_of_token(asked["token"], at_least=version),
    )
    found = [{each.id: each.version for each in rows}.get(position_id) for rows in sets]
    return {"versions": [None if row is None else row.version, *found]}
