"""Round trips to the server, operation by operation; tests/integration/test_round_trips.py holds them to this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from nexgent_db import Database
from nexgent_db.settings import Settings
from tests.benchmarks.result import Result
from tests.integration.sync.factories import new_owner
from tests.support.oracles.round_trips import round_trips


def run(url: str) -> Iterator[Result]:
    """Of one call each, once its statement is prepared."""
    with Database(replace(Settings.from_url(url), pool_max_size=1)) as db:
        owner = new_owner(db)
        db.trades.deposit(owner.deposit("100"))
        tokens = iter(range(1000))
        position = db.trades.buy(owner.buy("1", "1")).position
        assert position is not None
        operations: dict[str, Callable[[], object]] = {
            "positions.find_by_id": lambda: db.positions.find_by_id(position.id),
            "agents.find_by_id": lambda: db.agents.find_by_id(owner.agent_id),
            "positions.list_by_agent": lambda: db.positions.list_by_agent(owner.agent_id),
            "trades.buy": lambda: db.trades.buy(owner.buy("1", "1", f"Token{next(tokens)}")),
            "trades.take_profit": lambda: db.trades.take_profit(owner.take_profit("0.01", "1")),
        }
        for name, operation in operations.items():
            for _ in range(5):
                operation()
            with round_trips(db) as counted:
                operation()
            yield Result(name=f"round trips of {name}", figure=counted.count, unit="", at_most=1)
