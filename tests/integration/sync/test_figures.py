# Generated from tests/integration/aio/test_figures.py by `make sync`: do not edit.
"""Money figures after take-profits and DCA buys: cost basis, sale price, profits over time, signals of sales."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexgent_db import Database
from nexgent_db.models import Performance, SignalOrder
from tests.integration.sync.factories import TOKEN, Owner, balance_of, funded_owner
from tests.support.faults.concurrently import concurrently

BLOCKED = "SELECT FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid))"

pytestmark = pytest.mark.usefixtures("consistent_ledger")

NOW = datetime.now(UTC).replace(microsecond=0)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def test_cost_basis_is_what_is_not_received_back(db: Database) -> None:
    owner = funded_owner(db)
    db.trades.buy(owner.buy("1", "100"))
    db.trades.take_profit(owner.take_profit("50", "1"))
    db.trades.dca_buy(owner.dca_buy("0.5", "100"))
    found = db.performance.summarise(owner.agent_id)
    assert found.cost_basis_sol == 1  # invested 1.5 - received 1 + realised 0.5
    worth = Decimal("1.2")
    expected = found.realized_profit_sol + worth - found.cost_basis_sol
    closed = db.trades.sell(owner.sell("150", str(worth)))
    assert closed.swap is not None
    assert expected == closed.swap.profit_loss_sol == Decimal("0.7")
    after = db.performance.summarise(owner.agent_id)
    assert (after.realized_profit_sol, after.cost_basis_sol) == (Decimal("0.7"), 0)


def test_take_profit_counts_in_its_own_window_only(db: Database) -> None:
    owner = funded_owner(db)
    db.trades.buy(owner.buy("10", "100", transaction_time=days_ago(9)))
    db.trades.take_profit(owner.take_profit("50", "50", transaction_time=days_ago(5)))
    db.trades.sell(owner.sell("50", "5", transaction_time=days_ago(1)))
    lately = db.performance.summarise(owner.agent_id, since=days_ago(2))
    assert (lately.realized_profit_sol, lately.closed_trades) == (0, 1)
    before = db.performance.summarise(owner.agent_id, until=days_ago(2))
    assert (before.realized_profit_sol, before.closed_trades) == (45, 0)
    assert db.performance.summarise(owner.agent_id).realized_profit_sol == 45


def test_sale_price_is_all_sol_received_over_all_tokens_bought(db: Database) -> None:
    owner = funded_owner(db)
    db.trades.buy(owner.buy("1", "100"))
    db.trades.take_profit(owner.take_profit("50", "0.7", network_fee_sol="0.1"))
    closed = db.trades.sell(owner.sell("50", "0.4"))
    assert closed.swap is not None
    assert closed.swap.sale_price == Decimal("0.011")
    assert closed.transaction.input_price == Decimal("0.008")


@pytest.mark.parametrize(
    ("value_usd", "profit_usd"), [("150", Decimal(75)), ("0", None), (None, None)], ids=["given", "zero", "left_out"]
)
def test_profit_in_usd_is_known_only_with_value_in_usd(
    db: Database, value_usd: str | None, profit_usd: Decimal | None
) -> None:
    owner = funded_owner(db)
    db.trades.buy(owner.buy("0.5", "100"))
    order = owner.sell("100", "1") if value_usd is None else owner.sell("100", "1", transaction_value_usd=value_usd)
    closed = db.trades.sell(order)
    assert closed.swap is not None
    assert closed.swap.profit_loss_usd == profit_usd
    assert db.performance.summarise(owner.agent_id).realized_profit_usd == profit_usd
    assert db.trades.sell(order).swap == closed.swap


# --- Any partition of time ------------------------------------------------------------------------


def traded(db: Database, steps: list[tuple[str, int, int]]) -> Owner:
    """An owner after these steps, one every day from day -len(steps) on: what is done, of how much, for how much."""
    owner = funded_owner(db)
    held = 0
    for number, (what, amount, sol) in enumerate(steps):
        day: dict[str, Any] = {"transaction_time": days_ago(len(steps) - number)}
        price = str(Decimal(sol) / 1000)
        if held == 0:
            db.trades.buy(owner.buy(price, str(amount), **day))
            held = amount
        elif what == "buy":
            db.trades.dca_buy(owner.dca_buy(price, str(amount), **day))
            held += amount
        elif amount < held:
            db.trades.take_profit(owner.take_profit(str(amount), price, **day))
            held -= amount
        else:
            db.trades.sell(owner.sell(str(held), price, **day, transaction_value_usd=price))
            held = 0
    return owner


def total(parts: list[Performance]) -> tuple[Decimal, Decimal, int, int]:
    return (
        sum((part.realized_profit_sol for part in parts), Decimal(0)),
        sum((part.realized_profit_usd or Decimal(0) for part in parts), Decimal(0)),
        sum(part.closed_trades for part in parts),
        sum(part.won_trades for part in parts),
    )


@given(
    steps=st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 30), st.integers(1, 900)), max_size=12),
    cuts=st.sets(st.integers(0, 13), max_size=4),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_summaries_of_any_partition_add_up_to_whole(
    db: Database, steps: list[tuple[str, int, int]], cuts: set[int]
) -> None:
    owner = traded(db, steps)
    bounds = [None, *(days_ago(cut) for cut in sorted(cuts, reverse=True)), None]
    parts = [
        db.performance.summarise(owner.agent_id, owner.wallet_address, since, until)
        for since, until in pairwise(bounds)
    ]
    whole = db.performance.summarise(owner.agent_id)
    assert total(parts) == total([whole])
    positions = db.positions.list_by_agent(owner.agent_id)
    invested = sum((position.total_invested_sol - position.proceeds_sol for position in positions), Decimal(0))
    assert balance_of(db, owner) - 100 == whole.realized_profit_sol - whole.cost_basis_sol
    assert whole.cost_basis_sol == invested + sum((row.realized_profit_sol for row in positions), Decimal(0))


# --- Signals of sales -----------------------------------------------------------------------------


def new_signal(db: Database, owner: Owner) -> int:
    signal = db.signals.create(
        SignalOrder(token_address=TOKEN, signal_type="BUY", signal_strength=3, user_id=owner.user_id)
    )
    return signal.id


def test_sale_without_signal_has_signal_of_purchase(db: Database) -> None:
    owner = funded_owner(db)
    signal, other = new_signal(db, owner), new_signal(db, owner)
    db.trades.buy(owner.buy("1", "100", signal_id=signal))
    assert db.trades.take_profit(owner.take_profit("10", "1")).transaction.signal_id == signal
    assert db.trades.take_profit(owner.take_profit("10", "1", signal_id=other)).transaction.signal_id == other
    closed = db.trades.sell(owner.sell("80", "1"))
    assert closed.swap is not None
    assert closed.transaction.signal_id == closed.swap.signal_id == signal


@pytest.mark.parametrize("given_again", [False, True])
@pytest.mark.parametrize("closes", ["sell", "write_off", "take_profit"])
def test_signal_deleted_at_same_moment_is_left_out(db: Database, closes: str, given_again: bool) -> None:
    owner = funded_owner(db)
    signal = new_signal(db, owner)
    db.trades.buy(owner.buy("1", "100", signal_id=signal))
    more: dict[str, Any] = {"signal_id": signal} if given_again else {}
    order = owner.write_off(**more) if closes == "write_off" else getattr(owner, closes)("100", "1", **more)
    with psycopg.connect(db.settings.conninfo) as other:
        other.execute("DELETE FROM trading_signals WHERE id = %s", [signal])
        pid = other.info.backend_pid

        def commit_when_sale_waits() -> None:
            while not other.execute(BLOCKED, [pid]).fetchall():
                db.users.find_by_id(UUID(int=0))
            other.commit()

        result, _ = concurrently([lambda: getattr(db.trades, closes)(order), commit_when_sale_waits])
    assert result.swap is not None
    assert (result.transaction.signal_id, result.swap.signal_id) == (None, None)


def test_signal_of_recorded_sale_is_deleted_after_it(db: Database) -> None:
    owner = funded_owner(db)
    signal = new_signal(db, owner)
    db.trades.buy(owner.buy("1", "100", signal_id=signal))
    closed = db.trades.sell(owner.sell("100", "1"))
    assert db.signals.delete(signal) == 1
    found = db.transactions.find_by_id(closed.transaction.id)
    assert found is not None
    assert found.signal_id is None
