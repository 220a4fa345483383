"""The backend is ended at every statement of every function that trades call, and the same order is sent again.

Whatever the place: nothing partial is left, the second sending does what an undisturbed one does, exactly once, and the
third one gets its result. The functions and their statements come from the catalog (tests/support/faults/failpoints.py).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from nexgent_db import Database, errors
from nexgent_db.models import PriceUpdate, ResetResult, TradeResult, WalletOrder
from nexgent_db.resources import data_dir
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import TOKEN, Owner, funded_owner, new_owner
from tests.support.faults import failpoints
from tests.support.faults.failpoints import Failpoint, Function
from tests.support.oracles.state import broken_rules
from tests.support.servers.postgres_server import postgres_server

OTHER: Final = "TokenBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB2"
PAST: Final = datetime(2020, 1, 1, tzinfo=UTC)
_WRITTEN: Final = re.compile(r"(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(\w+)", re.IGNORECASE)
_OWN_TABLES: Final = """
SELECT c.table_name FROM information_schema.columns AS c
JOIN information_schema.tables AS t USING (table_schema, table_name)
WHERE c.table_schema = current_schema() AND c.column_name = 'agent_id' AND t.table_type = 'BASE TABLE'
ORDER BY 1
"""

Sql = psycopg.Connection[Any]
State = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Way:
    """A wallet that was made ready, and what sends the order: the first time, and again."""

    owner: Owner
    send: Callable[[], object]


Make = Callable[[Database, Sql], Way]
TRADES: Final[dict[str, Make]] = {}
"""Every kind of trade: ended at each visit of each failpoint."""
OTHERS: Final[dict[str, Make]] = {}
"""Refusals and errors: ended at each failpoint that no way before them has reached."""


def trade(make: Make) -> Make:
    TRADES[make.__name__] = make
    return make


def other(make: Make) -> Make:
    OTHERS[make.__name__] = make
    return make


def way(db: Database, owner: Owner, order: WalletOrder, kind: str) -> Way:
    return Way(owner, lambda: getattr(db.trades, kind)(order))


def bought(db: Database) -> Owner:
    """An owner of 100 tokens, bought for 10 SOL."""
    owner = funded_owner(db)
    db.trades.buy(owner.buy("10", "100"))
    return owner


# --- Every kind of trade ----------------------------------------------------------------------------


@trade
def deposit(db: Database, _: Sql) -> Way:
    owner = new_owner(db)
    return way(db, owner, owner.deposit("5", transaction_hash="h"), "deposit")


@trade
def withdraw(db: Database, _: Sql) -> Way:
    owner = funded_owner(db)
    return way(db, owner, owner.withdraw("5"), "withdraw")


@trade
def burn(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.burn("5", TOKEN), "burn")


@trade
def swap(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.swap("5", TOKEN, "7", OTHER, network_fee_sol=Decimal("0.01")), "swap")


@trade
def buy(db: Database, _: Sql) -> Way:
    owner = funded_owner(db)
    return way(db, owner, owner.buy("10", "100", protocol_fee_sol="0.1"), "buy")


@trade
def dca_buy(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.dca_buy("10", "50"), "dca_buy")


@trade
def take_profit(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.take_profit("50", "8", moon_bag_amount="10"), "take_profit")


@trade
def sell(db: Database, sql: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.sell("100", "8", signal_id=new_signal(sql)), "sell")


@trade
def write_off(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.write_off(), "write_off")


@trade
def reset_wallet(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.reset("5"), "reset_wallet")


@trade
def execute_many(db: Database, _: Sql) -> Way:
    owner = funded_owner(db)
    orders = [owner.buy("10", "100"), owner.withdraw("1000"), owner.sell("100", "8")]
    return Way(owner, lambda: db.trades.execute_many(orders))


# --- What else the functions do ---------------------------------------------------------------------


@other
def repeated_purchase(db: Database, _: Sql) -> Way:
    owner = funded_owner(db)
    order = owner.buy("10", "100")
    db.trades.buy(order)
    return way(db, owner, order, "buy")


@other
def repeated_dca_buy(db: Database, _: Sql) -> Way:
    owner = bought(db)
    order = owner.dca_buy("10", "50")
    db.trades.dca_buy(order)
    return way(db, owner, order, "dca_buy")


@other
def repeated_sale(db: Database, _: Sql) -> Way:
    owner = bought(db)
    order = owner.sell("100", "8")
    db.trades.sell(order)
    return way(db, owner, order, "sell")


@other
def repeated_write_off(db: Database, _: Sql) -> Way:
    owner = bought(db)
    order = owner.write_off()
    db.trades.write_off(order)
    return way(db, owner, order, "write_off")


@other
def repeated_reset(db: Database, _: Sql) -> Way:
    owner = bought(db)
    order = owner.reset("5")
    db.trades.reset_wallet(order)
    return way(db, owner, order, "reset_wallet")


@other
def order_with_the_id_of_another(db: Database, _: Sql) -> Way:
    owner = new_owner(db)
    order = owner.deposit("5")
    db.trades.deposit(order)
    return way(db, owner, owner.deposit("6", request_id=order.request_id), "deposit")


@other
def same_hash_twice(db: Database, _: Sql) -> Way:
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("5", transaction_hash="h"))
    return way(db, owner, owner.deposit("5", transaction_hash="h"), "deposit")


@other
def wallet_of_nobody(db: Database, _: Sql) -> Way:
    owner = new_owner(db)
    return way(db, owner, owner.deposit("5").model_copy(update={"wallet_address": "W0"}), "deposit")


@other
def expired_order(db: Database, _: Sql) -> Way:
    owner = new_owner(db)
    return way(db, owner, owner.deposit("5", expires_at=PAST), "deposit")


@other
def withdrawal_beyond_balance(db: Database, _: Sql) -> Way:
    owner = new_owner(db)
    return way(db, owner, owner.withdraw("5"), "withdraw")


@other
def transaction_discarded_by_trigger(db: Database, sql: Sql) -> Way:
    owner = new_owner(db)
    discarding(sql, "agent_transactions", owner)
    return way(db, owner, owner.deposit("5"), "deposit")


@other
def balance_discarded_by_trigger(db: Database, sql: Sql) -> Way:
    owner = new_owner(db)
    discarding(sql, "agent_balances", owner)
    return way(db, owner, owner.deposit("5"), "deposit")


@other
def second_purchase(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.buy("10", "100"), "buy")


@other
def purchase_beyond_balance(db: Database, _: Sql) -> Way:
    owner = new_owner(db)
    return way(db, owner, owner.buy("10", "100"), "buy")


@other
def dca_buy_of_no_position(db: Database, _: Sql) -> Way:
    owner = funded_owner(db)
    return way(db, owner, owner.dca_buy("10", "50"), "dca_buy")


@other
def dca_buy_of_another_count(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.dca_buy("10", "50", expected_dca_count=3), "dca_buy")


@other
def dca_buy_beyond_balance(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.dca_buy("1000", "50"), "dca_buy")


@other
def sale_of_no_position(db: Database, _: Sql) -> Way:
    owner = funded_owner(db)
    return way(db, owner, owner.sell("100", "8"), "sell")


@other
def sale_of_another_count(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.take_profit("50", "8", expected_levels_hit=3), "take_profit")


@other
def oversell(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.sell("101", "8"), "sell")


@other
def sale_of_a_part(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.sell("50", "8"), "sell")


@other
def too_large_moon_bag(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.take_profit("50", "8", moon_bag_amount="60"), "take_profit")


@other
def moon_bag_cut_to_the_rest(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.take_profit("50", "8", moon_bag_amount="50.0000001"), "take_profit")


@other
def sale_before_purchase(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.sell("100", "8", transaction_time=PAST), "sell")


@other
def sale_with_a_fee_beyond_balance(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.sell("100", "8", network_fee_sol="1000"), "sell")


@other
def sale_up_to_dust(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.sell("100.000000001", "8", up_to_dust=True), "sell")


@other
def take_profit_up_to_dust(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.take_profit("99.999999995", "8", up_to_dust=True), "take_profit")


@other
def write_off_of_no_position(db: Database, _: Sql) -> Way:
    owner = funded_owner(db)
    return way(db, owner, owner.write_off(), "write_off")


@other
def write_off_before_purchase(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.write_off(transaction_time=PAST), "write_off")


@other
def write_off_of_nothing(db: Database, _: Sql) -> Way:
    owner = bought(db)
    db.trades.burn(owner.burn("100", TOKEN))
    return way(db, owner, owner.write_off(), "write_off")


@other
def write_off_with_a_fee_beyond_balance(db: Database, _: Sql) -> Way:
    owner = bought(db)
    return way(db, owner, owner.write_off(network_fee_sol="1000"), "write_off")


@other
def reset_of_a_live_wallet(db: Database, _: Sql) -> Way:
    owner = new_owner(db, "live")
    return way(db, owner, owner.reset(), "reset_wallet")


@other
def recorded_prices(db: Database, _: Sql) -> Way:
    return prices(db, "0.2")


@other
def stop_loss_above_price(db: Database, _: Sql) -> Way:
    return prices(db, "0.05")


def prices(db: Database, price: str) -> Way:
    owner = funded_owner(db)
    position = db.trades.buy(owner.buy("10", "100")).position
    assert position is not None
    update = PriceUpdate(position_id=position.id, price=Decimal(price), stop_loss_percentage=Decimal("-10"))

    def send() -> None:
        db.positions.record_prices([update])

    return Way(owner, send)


def new_signal(sql: Sql) -> int:
    row = sql.execute(
        "INSERT INTO trading_signals (token_address, symbol, signal_type, activation_reason, signal_strength)"
        " VALUES (%s, 'A', 'a', 'a', 1) RETURNING id",
        [TOKEN],
    ).fetchone()
    assert row is not None
    return int(row[0])


def discarding(sql: Sql, table: str, owner: Owner) -> None:
    """Let a trigger discard what is inserted for the wallet."""
    name = f"discard_{uuid4().hex}"
    sql.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'".encode())
    sql.execute(
        f"CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW"
        f" WHEN (NEW.wallet_address = '{owner.wallet_address}') EXECUTE FUNCTION {name}()".encode()
    )


# --- The kills --------------------------------------------------------------------------------------


@dataclass
class Arena:
    """The database with failpoints: two open connections to it, and what was found out about it."""

    db: Database
    sql: Sql
    functions: dict[str, Function]
    of_trades: set[str]
    tables: list[str]
    points: list[Failpoint]

    def state_of(self, owner: Owner) -> State:
        """Every row of the agent, in every table that has an agent."""
        parts = ", ".join(
            f"'{table}', (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY to_jsonb(t)), '[]')"
            f" FROM {table} AS t WHERE t.agent_id = %(agent_id)s)"
            for table in self.tables
        )
        row = self.sql.execute(f"SELECT jsonb_build_object({parts})".encode(), {"agent_id": owner.agent_id}).fetchone()
        assert row is not None
        return dict(row[0])


def sent(one: Way) -> list[object]:
    """A result, or the name of an error, for each order."""
    try:
        result = one.send()
    except errors.ConnectionLost:
        raise
    except errors.NexgentError as error:
        return [type(error).__name__]
    return [
        type(each).__name__ if isinstance(each, Exception) else each
        for each in (result if isinstance(result, list) else [result])
    ]


def kinds(outcome: list[object]) -> list[str]:
    """What happened to each order."""
    return [str(each) if isinstance(each, str) else type(each).__name__ for each in outcome]


def repeated(outcome: list[object]) -> list[object]:
    """The outcome as a repetition gives it."""
    return [
        each.model_copy(update={"duplicate": True}) if isinstance(each, TradeResult | ResetResult) else each
        for each in outcome
    ]


def summary(state: State) -> dict[str, Any]:
    """What is the same for two wallets with the same orders: the amounts, and how many rows each table has."""
    return {
        **{table: len(rows) for table, rows in state.items()},
        "balances": sorted((row["token_address"], str(row["balance"])) for row in state["agent_balances"]),
        "positions": sorted(
            (row["token_address"], str(row["remaining_amount"]), str(row["total_invested_sol"]))
            for row in state["agent_positions"]
        ),
        "profits": sorted(str(row["profit_loss_sol"]) for row in state["agent_historical_swaps"]),
    }


def kill_and_repeat(arena: Arena, make: Make, point: Failpoint, visit: int, expected: tuple[list[str], Any]) -> None:
    """End the backend at the failpoint, send again twice, and compare with ``expected``: outcome and summary."""
    one = make(arena.db, arena.sql)
    before = arena.state_of(one.owner)
    failpoints.arm(arena.sql, point.number, visit)
    try:
        with pytest.raises(errors.ConnectionLost):
            one.send()
    finally:
        failpoints.disarm(arena.sql)
    assert arena.state_of(one.owner) == before, "something partial was left"
    outcome = sent(one)
    after = arena.state_of(one.owner)
    assert (kinds(outcome), summary(after)) == expected
    assert sent(one) == repeated(outcome), "the repetition has another result"
    assert arena.state_of(one.owner) == after, "the repetition changed something"


@pytest.fixture(scope="module")
def arena(nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[Arena]:
    with (
        nexgent_databases.copy(nexgent_template_url) as url,
        psycopg.connect(url, autocommit=True) as sql,
        Database(url) as db,
    ):
        functions = failpoints.functions_of(sql)
        calls = (data_dir("sql") / "trades.sql").read_text(encoding="utf-8")
        of_trades = failpoints.reachable_from([calls], functions)
        tables = [name for (name,) in sql.execute(_OWN_TABLES).fetchall()]
        written = {name for each in of_trades for name in _WRITTEN.findall(functions[each].definition)}
        points = failpoints.install(sql, sorted(written & set(tables)))
        yield Arena(db, sql, functions, of_trades, tables, points)
        assert broken_rules(url) == {}


def ways_of(arena: Arena) -> Iterator[tuple[str, Make, dict[int, int], tuple[list[str], Any]]]:
    """Each way, undisturbed: the failpoints that it visits, how often, and what comes of it."""
    for name, make in [*TRADES.items(), *OTHERS.items()]:
        one = make(arena.db, arena.sql)
        failpoints.take_visits(arena.sql)
        failpoints.count_visits(arena.sql)
        outcome = sent(one)
        failpoints.disarm(arena.sql)
        yield name, make, failpoints.take_visits(arena.sql), (kinds(outcome), summary(arena.state_of(one.owner)))


def test_order_killed_at_any_statement_happens_once_when_sent_again(arena: Arena) -> None:
    by_number = {point.number: point for point in arena.points}
    reached: set[int] = set()
    kills = 0
    for name, make, visits, expected in ways_of(arena):
        for number, count in visits.items():
            if name not in TRADES and number in reached:
                continue
            for visit in range(1, count + 1):
                try:
                    kill_and_repeat(arena, make, by_number[number], visit, expected)
                except BaseException as error:
                    error.add_note(f"{name}, killed at {by_number[number]}, visit {visit}")
                    raise
                kills += 1
        reached |= visits.keys()
    print(f"{kills} kills at {len(reached)} failpoints")
    missing = [point for point in arena.points if point.function in arena.of_trades and point.number not in reached]
    assert missing == []
