"""Every branch of every PL/pgSQL function of the schema is reached by trades through the public API.

The steps below are the ways. What no trade can do, because only other writers do it, is done with SQL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database, errors
from nexgent_db.models import PriceUpdate, RecordedPrices
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import TOKEN, Owner, funded_owner, new_owner
from tests.support.oracles.branch_coverage import instrument, take_reached

OTHER = "TokenBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB2"
PAST = datetime(2020, 1, 1, tzinfo=UTC)

Step = Callable[[Database, psycopg.Connection[Any]], None]
STEPS: dict[str, Step] = {}


def step(function: Step) -> Step:
    """A way through the functions, by its name."""
    STEPS[function.__name__] = function
    return function


def bought(db: Database) -> Owner:
    """An owner of 100 tokens, bought for 10 SOL."""
    owner = funded_owner(db)
    db.trades.buy(owner.buy("10", "100"))
    return owner


@contextmanager
def refused_by_database(condition: str) -> Iterator[None]:
    """The statement is refused, with this in the message."""
    with pytest.raises(psycopg.Error, match=condition):
        yield


# --- Every trade ----------------------------------------------------------------------------------


@step
def repeated_order(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = new_owner(db)
    order = owner.deposit("5")
    db.trades.deposit(order)
    assert db.trades.deposit(order).duplicate


@step
def batch_of_orders(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = new_owner(db)
    assert len(db.trades.execute_many([owner.deposit("5"), owner.withdraw("1")])) == 2


@step
def pruned_request(db: Database, _: psycopg.Connection[Any]) -> None:
    deposit = db.trades.deposit(new_owner(db).deposit("5"))
    db.trade_requests.prune(deposit.transaction.created_at + timedelta(microseconds=1))


@step
def compacted_outbox(db: Database, _: psycopg.Connection[Any]) -> None:
    bought(db)
    while db.cache.maintenance.compact_outbox(0.0) > 1:
        pass
    assert db.cache.maintenance.compact_outbox(1_000_000.0) == 0


@step
def transaction_discarded_by_trigger(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = new_owner(db)
    sql.execute("CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    sql.execute("CREATE TRIGGER discard BEFORE INSERT ON agent_transactions FOR EACH ROW EXECUTE FUNCTION discard()")
    with pytest.raises(errors.ForeignKeyViolation, match="discarded transaction"):
        db.trades.deposit(owner.deposit("5"))
    sql.execute("DROP FUNCTION discard CASCADE")


@step
def order_with_the_id_of_another(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = new_owner(db)
    order = owner.deposit("5")
    db.trades.deposit(order)
    with pytest.raises(errors.IdempotencyConflict, match="another order"):
        db.trades.deposit(owner.deposit("6", request_id=order.request_id))


@step
def order_with_the_id_of_an_adopted_transaction(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = new_owner(db)
    order = owner.deposit("5")
    adopted_transaction(sql, owner, order.trade_id)
    with pytest.raises(errors.IdempotencyConflict, match=str(order.trade_id)):
        db.trades.deposit(order)


@step
def same_hash_twice(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("5", transaction_hash="h"))
    with pytest.raises(errors.IdempotencyConflict, match="same hash"):
        db.trades.deposit(owner.deposit("5", transaction_hash="h", request_id=uuid4()))


@step
def wallet_of_nobody(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = new_owner(db)
    with pytest.raises(errors.WalletNotFound):
        db.trades.deposit(owner.deposit("5").model_copy(update={"wallet_address": "W0"}))


@step
def expired_order(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.OrderExpired):
        db.trades.deposit(new_owner(db).deposit("5", expires_at=PAST))


@step
def too_small_balance(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.InsufficientBalance):
        db.trades.withdraw(new_owner(db).withdraw("5"))


@step
def withdrawal(db: Database, _: psycopg.Connection[Any]) -> None:
    db.trades.withdraw(funded_owner(db).withdraw("5"))


@step
def balance_changed_without_the_lock(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = funded_owner(db)
    failures: list[BaseException] = []

    def withdraw() -> None:
        try:
            db.trades.withdraw(owner.withdraw("60"))
        except errors.NexgentError as error:
            failures.append(error)

    thread = threading.Thread(target=withdraw)
    with sql.transaction():
        sql.execute("UPDATE agent_balances SET balance = 50 WHERE wallet_address = %s", [owner.wallet_address])
        thread.start()
        row = sql.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        until(sql, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid)))", [row[0]])
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert [*map(type, failures)] == [errors.InsufficientBalance], failures


@step
def balance_inserted_without_the_lock(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = new_owner(db)
    failures: list[BaseException] = []

    def deposit() -> None:
        try:
            db.trades.deposit(owner.deposit("5"))
        except errors.NexgentError as error:
            failures.append(error)

    thread = threading.Thread(target=deposit)
    with sql.transaction():
        sql.execute(
            "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)"
            " VALUES (%s, %s, sol_mint(), 'SOL', 1)",
            [owner.agent_id, owner.wallet_address],
        )
        thread.start()
        row = sql.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        until(sql, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid)))", [row[0]])
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert [*map(type, failures)] == [errors.TransactionConflict], failures
    db.trades.deposit(owner.deposit("5"))


# --- Positions ------------------------------------------------------------------------------------


@step
def purchase(db: Database, _: psycopg.Connection[Any]) -> None:
    bought(db)


@step
def repeated_purchase(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = funded_owner(db)
    order = owner.buy("10", "100")
    assert db.trades.buy(order).position == db.trades.buy(order).position


@step
def second_purchase(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.PositionExists):
        db.trades.buy(bought(db).buy("10", "100"))


@step
def purchase_beyond_balance(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.InsufficientBalance):
        db.trades.buy(new_owner(db).buy("10", "100"))


@step
def dca_buy(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    order = owner.dca_buy("10", "50")
    db.trades.dca_buy(order)
    assert db.trades.dca_buy(order).duplicate


@step
def dca_buy_of_no_position(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.PositionNotFound):
        db.trades.dca_buy(funded_owner(db).dca_buy("10", "50"))


@step
def dca_buy_of_another_count(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.StalePosition):
        db.trades.dca_buy(bought(db).dca_buy("10", "50", expected_dca_count=3))


@step
def dca_buy_beyond_balance(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.InsufficientBalance):
        db.trades.dca_buy(bought(db).dca_buy("1000", "50"))


@step
def take_profit(db: Database, _: psycopg.Connection[Any]) -> None:
    db.trades.take_profit(bought(db).take_profit("50", "8"))


@step
def sale(db: Database, _: psycopg.Connection[Any]) -> None:
    db.trades.sell(bought(db).sell("100", "8"))


@step
def repeated_sale(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    order = owner.sell("100", "8")
    db.trades.sell(order)
    assert db.trades.sell(order).swap is not None


@step
def sale_of_no_position(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.PositionNotFound):
        db.trades.sell(funded_owner(db).sell("100", "8"))


@step
def sale_of_another_count(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.StalePosition):
        db.trades.take_profit(bought(db).take_profit("50", "8", expected_levels_hit=3))


@step
def oversell(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.Oversell):
        db.trades.sell(bought(db).sell("101", "8"))


@step
def sale_of_a_part(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.NotAFullSale):
        db.trades.sell(bought(db).sell("50", "8"))


@step
def too_large_moon_bag(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.MoonBagTooLarge):
        db.trades.take_profit(bought(db).take_profit("50", "8", moon_bag_amount="60"))


@step
def sale_before_purchase(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.SaleBeforePurchase):
        db.trades.sell(bought(db).sell("100", "8", transaction_time=PAST))


@step
def sale_with_a_fee_beyond_balance(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.InsufficientBalance):
        db.trades.sell(bought(db).sell("100", "8", network_fee_sol="1000"))


@step
def sale_with_a_signal(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = funded_owner(db)
    row = sql.execute(
        "INSERT INTO trading_signals (token_address, symbol, signal_type, activation_reason, signal_strength)"
        " VALUES (%s, 'A', 'a', 'a', 1) RETURNING id",
        [TOKEN],
    ).fetchone()
    assert row is not None
    db.trades.buy(owner.buy("10", "100", signal_id=row[0]))
    assert db.trades.sell(owner.sell("100", "8", signal_id=row[0])).transaction.signal_id == row[0]


@step
def sale_up_to_dust(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    sold = db.trades.sell(owner.sell("100.000000001", "8", up_to_dust=True))
    assert sold.transaction.settled_dust is not None


@step
def sale_up_to_dust_beside_other_tokens(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    db.trades.deposit(owner.deposit("5", TOKEN))
    assert db.trades.sell(owner.sell("100", "8", up_to_dust=True)).transaction.settled_dust is None


@step
def take_profit_up_to_dust(db: Database, _: psycopg.Connection[Any]) -> None:
    taken = db.trades.take_profit(bought(db).take_profit("99.999999995", "8", up_to_dust=True))
    assert taken.position is not None


@step
def moon_bag_cut_to_the_rest(db: Database, _: psycopg.Connection[Any]) -> None:
    db.trades.take_profit(bought(db).take_profit("50", "8", moon_bag_amount="50.0000001"))


@step
def write_off(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    order = owner.write_off()
    db.trades.write_off(order)
    assert db.trades.write_off(order).duplicate


@step
def write_off_of_no_position(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.PositionNotFound):
        db.trades.write_off(funded_owner(db).write_off())


@step
def write_off_before_purchase(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.SaleBeforePurchase):
        db.trades.write_off(bought(db).write_off(transaction_time=PAST))


@step
def write_off_of_nothing(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    db.trades.burn(owner.burn("100", TOKEN))
    with pytest.raises(errors.InsufficientBalance):
        db.trades.write_off(owner.write_off())


@step
def write_off_with_a_fee_beyond_balance(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.InsufficientBalance):
        db.trades.write_off(bought(db).write_off(network_fee_sol="1000"))


# --- Prices ---------------------------------------------------------------------------------------


@step
def recorded_prices(db: Database, _: psycopg.Connection[Any]) -> None:
    position = db.trades.buy(funded_owner(db).buy("10", "100")).position
    assert position is not None
    update = PriceUpdate(position_id=position.id, price=Decimal("0.2"), stop_loss_percentage=Decimal("-10"))
    assert db.positions.record_prices([update]).changed
    assert db.positions.record_prices([update]) == RecordedPrices()


@step
def stop_loss_above_price(db: Database, _: psycopg.Connection[Any]) -> None:
    position = db.trades.buy(funded_owner(db).buy("10", "100")).position
    assert position is not None
    with pytest.raises(errors.InvalidInput):
        db.positions.record_prices(
            [PriceUpdate(position_id=position.id, price=Decimal("0.05"), stop_loss_percentage=Decimal("-10"))]
        )


# --- Resets ---------------------------------------------------------------------------------------


@step
def reset(db: Database, _: psycopg.Connection[Any]) -> None:
    db.trades.reset_wallet(bought(db).reset())


@step
def repeated_reset_with_a_deposit(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    order = owner.reset("5")
    db.trades.reset_wallet(order)
    assert db.trades.reset_wallet(order).duplicate


@step
def reset_of_a_live_wallet(db: Database, _: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.WalletNotSimulated):
        db.trades.reset_wallet(new_owner(db, "live").reset())


# --- Other writers --------------------------------------------------------------------------------


def until(sql: psycopg.Connection[Any], query: str, parameters: list[Any]) -> None:
    """Ask until the answer is true, half a minute at most."""
    end = datetime.now(UTC) + timedelta(seconds=30)
    while datetime.now(UTC) < end:
        row = sql.execute(query.encode(), parameters).fetchone()
        if row is not None and row[0]:
            return
        sql.execute("SELECT pg_sleep(0.01)")
    pytest.fail(f"never true: {query}")


def adopted_transaction(sql: psycopg.Connection[Any], owner: Owner, id_: object, **more: object) -> None:
    """An entry of the ledger without a request."""
    columns = {
        "id": id_,
        "agent_id": owner.agent_id,
        "wallet_address": owner.wallet_address,
        "transaction_type": "DEPOSIT",
        "transaction_value_usd": 0,
        "transaction_time": PAST,
        "input_mint": OTHER,
        "input_symbol": "B",
        "input_amount": 1,
    } | more
    sql.execute(
        f"INSERT INTO agent_transactions ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})".encode(),
        list(columns.values()),
    )


@step
def row_written_by_hand(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    sql.execute("UPDATE agent_balances SET last_updated = now() WHERE agent_id = %s", [owner.agent_id])
    sql.execute("UPDATE agent_positions SET updated_at = now() WHERE agent_id = %s", [owner.agent_id])
    sql.execute("UPDATE agents SET name = 'renamed' WHERE id = %s", [owner.agent_id])


@step
def row_deleted_by_hand(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    for table in ("agent_balances", "agent_positions"):
        sql.execute(f"DELETE FROM {table} WHERE agent_id = %s".encode(), [owner.agent_id])
    empty = db.agents.create(owner.user_id, "empty")
    sql.execute("DELETE FROM agents WHERE id = %s", [empty.id])


@step
def truncated_table(_: Database, sql: psycopg.Connection[Any]) -> None:
    sql.execute("TRUNCATE agent_balances")


@step
def truncated_ledger(_: Database, sql: psycopg.Connection[Any]) -> None:
    with refused_by_database("TRUNCATE of agent_historical_swaps is refused"):
        sql.execute("TRUNCATE agent_historical_swaps")


@step
def deleted_signal(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner, id_ = new_owner(db), uuid4()
    row = sql.execute(
        "INSERT INTO trading_signals (token_address, symbol, signal_type, activation_reason, signal_strength)"
        " VALUES (%s, 'A', 'a', 'a', 1) RETURNING id",
        [TOKEN],
    ).fetchone()
    assert row is not None
    adopted_transaction(sql, owner, id_, signal_id=row[0])
    sql.execute("DELETE FROM trading_signals WHERE id = %s", row)


@step
def changed_ledger(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner, id_ = new_owner(db), uuid4()
    adopted_transaction(sql, owner, id_)
    with refused_by_database("UPDATE of agent_transactions"):
        sql.execute("UPDATE agent_transactions SET input_amount = 2 WHERE id = %s", [id_])
    with refused_by_database("DELETE of agent_transactions"):
        sql.execute("DELETE FROM agent_transactions WHERE id = %s", [id_])


@step
def purged_agent(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    sql.execute("SELECT purge_agent_v1(%s, 'a test')", [owner.agent_id])


@step
def agent_purged_in_batches(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner, finished = bought(db), None
    while finished is None:
        row = sql.execute("SELECT finished_at FROM purge_agent_batch_v1(%s, 'a test', 1)", [owner.agent_id]).fetchone()
        assert row is not None
        (finished,) = row


@step
def purge_of_nobody_in_batches(_: Database, sql: psycopg.Connection[Any]) -> None:
    with refused_by_database("there is no agent"):
        sql.execute("SELECT purge_agent_batch_v1(%s, 'a test', 1)", [uuid4()])


@step
def purge_of_nobody(_: Database, sql: psycopg.Connection[Any]) -> None:
    with refused_by_database("there is no agent"):
        sql.execute("SELECT purge_agent_v1(%s, 'a test')", [uuid4()])


@step
def entry_without_a_wallet(db: Database, sql: psycopg.Connection[Any]) -> None:
    with refused_by_database("needs a wallet"):
        adopted_transaction(sql, new_owner(db), uuid4(), wallet_address=None)


@step
def position_with_the_purchase_of_another(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner, other = bought(db), new_owner(db)
    with refused_by_database("is no purchase of agent"):
        sql.execute(
            "UPDATE agent_positions SET agent_id = %s, wallet_address = %s WHERE agent_id = %s",
            [other.agent_id, other.wallet_address, owner.agent_id],
        )


@step
def position_moved_with_its_purchase(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    sql.execute("UPDATE agent_positions SET agent_id = agent_id WHERE agent_id = %s", [owner.agent_id])


@step
def changed_address(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    assert db.wallets.change_address(owner.agent_id, owner.wallet_address, f"C{uuid4().hex}") is not None


@step
def unchanged_address(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    assert db.wallets.change_address(owner.agent_id, owner.wallet_address, owner.wallet_address) is not None


@step
def changed_address_of_nobody(db: Database, _: psycopg.Connection[Any]) -> None:
    assert db.wallets.change_address(uuid4(), "W0", "W1") is None


@step
def entry_moved_while_its_wallet_stays(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    other = db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    sql.execute("SELECT set_config('nexgent.changed_wallet', %s, false)", [owner.wallet_address])
    with refused_by_database("UPDATE of agent_transactions"):
        sql.execute(
            "UPDATE agent_transactions SET wallet_address = %s WHERE wallet_address = %s",
            [other.wallet_address, owner.wallet_address],
        )
    sql.execute("RESET nexgent.changed_wallet")


# --- The tests ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reached(nexgent_databases: Databases, nexgent_template_url: str) -> tuple[set[str], dict[str, set[str]]]:
    """All branches, and those that each step reaches."""
    with (
        nexgent_databases.copy(nexgent_template_url) as url,
        psycopg.connect(url, autocommit=True) as sql,
        Database(url) as db,
    ):
        branches = instrument(sql)
        by_step: dict[str, set[str]] = {}
        for name, run in STEPS.items():
            run(db, sql)
            by_step[name] = take_reached(sql, branches)
    return set(branches), by_step


def test_every_branch_of_every_function_is_reached(reached: tuple[set[str], dict[str, set[str]]]) -> None:
    branches, by_step = reached
    assert len(branches) > 100
    assert sorted(branches - set[str]().union(*by_step.values())) == []


def test_branch_is_unreached_without_its_step(reached: tuple[set[str], dict[str, set[str]]]) -> None:
    branches, by_step = reached
    others = set[str]().union(*(found for name, found in by_step.items() if name != "oversell"))
    assert [each.partition(": ")[2] for each in branches - others] == ["ELSIF left_over < 0 THEN"]
