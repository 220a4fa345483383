"""The functions of trades: who may execute them, what they alone may write, what they leave behind, their versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors as pg

from nexgent_db import Database
from nexgent_db.errors import PermissionDenied, SchemaNotReady, WalletNotFound
from nexgent_db.models import SOL_MINT, SignalOrder
from nexgent_db.settings import Settings
from tests.integration.sync.factories import TOKEN, Owner, balance_of, new_owner
from tests.support.builders.purge import purge_agent
from tests.support.oracles.state import broken_rules, rows_of
from tests.support.servers.roles import RoledDatabase

STEPS: Final = ("begin_trade_v1", "change_balances_v1", "finish_trade_v1", "first_result_v1", "opened_position_v1")
TRADES: Final = ("record_transaction", "buy", "dca_buy", "sell", "reset_wallet")


@pytest.fixture
def db(fresh_database_url: str) -> Iterator[Database]:
    """A database of the test's own, which the service owns."""
    with Database(fresh_database_url) as database:
        yield database


@pytest.fixture
def psql(fresh_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's connection, each statement committed."""
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        yield connection


def trader(db: Database) -> Owner:
    """An agent with 99 SOL and a position of 10 tokens."""
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("100"))
    db.trades.buy(owner.buy("1", "10"))
    return owner


# --- Rights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["app", "tenant", "worker"])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)"
        " VALUES (%(agent)s, %(wallet)s, 'x', 'x', 1)",
        "UPDATE agent_balances SET balance = balance + 1",
        "DELETE FROM agent_balances",
        "UPDATE agent_positions SET remaining_amount = 1",
        "UPDATE agent_positions SET total_invested_sol = 1",
        "DELETE FROM agent_positions",
        "INSERT INTO agent_transactions (agent_id, wallet_address, transaction_type, transaction_value_usd,"
        " transaction_time, input_mint, input_amount) VALUES (%(agent)s, %(wallet)s, 'DEPOSIT', 0, now(), 'x', 1)",
        "UPDATE agent_transactions SET input_amount = 1",
        "DELETE FROM agent_transactions",
        "UPDATE agent_historical_swaps SET profit_loss_sol = 1",
        "DELETE FROM agent_historical_swaps",
        "DELETE FROM trade_requests",
        "UPDATE trade_requests SET operation = 'buy'",
        "INSERT INTO ledger_purges (agent_id, reason, transactions, historical_swaps) VALUES (%(agent)s, 'x', 0, 0)",
        "SELECT purge_agent_v1(%(agent)s, 'x')",
    ],
)
def test_no_service_writes_around_functions(roled: RoledDatabase, role: str, statement: str) -> None:
    with Database(roled.url_of("app")) as app:
        owner = trader(app)
    with psycopg.connect(roled.url) as connection:
        connection.execute(f'SET ROLE "{roled.name_of(role)}"')
        connection.execute("SELECT set_config('nexgent.user_id', %s, false)", [str(owner.user_id)])
        connection.execute("SET nexgent.trade = 'on'")
        with pytest.raises(pg.InsufficientPrivilege):
            connection.execute(statement.encode(), {"agent": owner.agent_id, "wallet": owner.wallet_address})


CALL: Final = (
    "SELECT outcome FROM trade_record_transaction_v1(%(id)s, sha256(''), %(agent)s, %(wallet)s, NULL, NULL, 0, NULL,"
    " NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 'WITHDRAWAL', NULL, sol_mint(), 'SOL', 1,"
    " NULL, NULL, NULL, NULL, NULL)"
)


@pytest.mark.parametrize("user", ["another", "none", "cleared", "not an id"])
def test_tenant_with_raw_sql_trades_with_no_other_wallet(roled: RoledDatabase, user: str) -> None:
    with Database(roled.url_of("app")) as app:
        owner, other = trader(app), trader(app)
        before = rows_of(roled.url, owner.agent_id)
        stolen = {"id": uuid4(), "agent": owner.agent_id, "wallet": owner.wallet_address}
        with psycopg.connect(roled.url_of("app"), autocommit=True) as connection:
            connection.execute(f'SET ROLE "{roled.name_of("tenant")}"')
            setting = {"another": str(other.user_id), "cleared": "", "not an id": "x"}.get(user)
            if setting is not None:
                connection.execute("SELECT set_config('nexgent.user_id', %s, false)", [setting])
            if user == "not an id":
                with pytest.raises(pg.InvalidTextRepresentation):
                    connection.execute(CALL, stolen)
            else:
                assert connection.execute(CALL, stolen).fetchone() == ("wallet_not_found",)
                connection.execute("SELECT lock_wallets_v1(%s, %s)", [[owner.agent_id], [owner.wallet_address]])
            with pytest.raises(pg.InsufficientPrivilege):
                connection.execute("SELECT act_for_every_user()")
            with pytest.raises(pg.InsufficientPrivilege):
                connection.execute("SELECT prune_trade_requests_v1(now(), 10)")
            connection.execute("SELECT set_config('nexgent.user_id', %s, false)", [str(owner.user_id)])
            assert rows_of(roled.url, owner.agent_id) == before
            assert connection.execute(CALL, stolen).fetchone() == ("made",)
        assert balance_of(app, owner) == 98


def test_steps_cannot_be_called_by_services(roled: RoledDatabase) -> None:
    with psycopg.connect(roled.url) as connection:
        callable_by = connection.execute(
            "SELECT p.proname, r.rolname FROM pg_proc AS p CROSS JOIN pg_roles AS r"
            " WHERE p.proname = ANY(%s) AND r.rolname = ANY(%s) AND has_function_privilege(r.oid, p.oid, 'EXECUTE')",
            [list(STEPS), [roled.name_of(role) for role in ("app", "tenant", "worker", "readonly", "migrator")]],
        ).fetchall()
    assert callable_by == []


def test_role_without_execute_is_told_which_function(roled: RoledDatabase) -> None:
    with Database(roled.url_of("app")) as app:
        owner = trader(app)
        with psycopg.connect(roled.url, autocommit=True) as superuser:
            superuser.execute(f'REVOKE EXECUTE ON FUNCTION trade_sell_v1 FROM "{roled.name_of("app")}"')
        with pytest.raises(PermissionDenied, match="permission denied for function trade_sell_v1"):
            app.trades.sell(owner.sell("10", "1"))
        roled.apply()
        assert app.trades.sell(owner.sell("10", "1")).swap is not None


def test_caller_search_path_and_temporary_tables_change_nothing(db: Database, fresh_database_url: str) -> None:
    owner = trader(db)
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute("CREATE TEMPORARY TABLE agent_balances (LIKE public.agent_balances INCLUDING ALL)")
        connection.execute("CREATE SCHEMA elsewhere")
        connection.execute("CREATE FUNCTION elsewhere.sol_mint() RETURNS text LANGUAGE sql AS $$ SELECT 'fake' $$")
        connection.execute("SET search_path TO pg_temp, elsewhere, public")
        values = {"id": uuid4(), "agent": owner.agent_id, "wallet": owner.wallet_address}
        made = connection.execute(CALL.replace("sol_mint()", f"'{SOL_MINT}'"), values).fetchone()
        assert made == ("made",)
    assert balance_of(db, owner) == 98


# --- The ledger ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE agent_transactions SET input_amount = input_amount + 1",
        "UPDATE agent_transactions SET signal_id = NULL, input_amount = 7",
        "UPDATE agent_transactions SET wallet_address = NULL",
        "DELETE FROM agent_transactions",
        "TRUNCATE agent_transactions CASCADE",
        "UPDATE agent_historical_swaps SET profit_loss_sol = 7",
        "DELETE FROM agent_historical_swaps",
        "TRUNCATE agent_historical_swaps",
        "DELETE FROM agents",
        "DELETE FROM users",
        "DELETE FROM agent_wallets",
        "UPDATE agents SET id = gen_random_uuid()",
        "UPDATE agent_wallets SET wallet_address = 'another'",
        "SELECT set_config('nexgent.changed_wallet', wallet_address, false) FROM agent_wallets;"
        " UPDATE agent_transactions SET wallet_address = 'another'",
        "SELECT set_config('nexgent.changed_wallet', wallet_address, false) FROM agent_wallets;"
        " UPDATE agent_historical_swaps SET amount = 7",
    ],
)
def test_ledger_is_append_only_for_its_owner_too(
    db: Database, psql: psycopg.Connection[Any], fresh_database_url: str, statement: str
) -> None:
    owner = trader(db)
    db.trades.sell(owner.sell("10", "1"))
    before = rows_of(fresh_database_url, owner.agent_id)
    with pytest.raises(pg.RestrictViolation, match="the ledger is append-only"):
        psql.execute(statement.encode())
    assert rows_of(fresh_database_url, owner.agent_id) == before


def test_purge_is_recorded_and_only_of_its_agent(
    db: Database, psql: psycopg.Connection[Any], fresh_database_url: str
) -> None:
    owner, other = trader(db), trader(db)
    db.trades.sell(owner.sell("10", "1"))
    before = rows_of(fresh_database_url, other.agent_id)
    purge_agent(fresh_database_url, owner.agent_id)
    assert not any(rows_of(fresh_database_url, owner.agent_id).values())
    assert psql.execute(
        "SELECT agent_id, reason, transactions, historical_swaps, purged_by FROM ledger_purges"
    ).fetchall() == [(owner.agent_id, "a test", 3, 1, "postgres")]
    with psql.transaction(), pytest.raises(pg.RestrictViolation):
        psql.execute(
            "INSERT INTO ledger_purges (agent_id, reason, transactions, historical_swaps) VALUES (%s, 'x', 0, 0)",
            [owner.agent_id],
        )
        psql.execute("DELETE FROM agent_transactions WHERE agent_id = %s", [other.agent_id])
    assert rows_of(fresh_database_url, other.agent_id) == before
    with pytest.raises(pg.NoDataFound):
        psql.execute("SELECT purge_agent_v1(%s, 'again')", [owner.agent_id])
    with pytest.raises(pg.CheckViolation):
        psql.execute("SELECT purge_agent_v1(%s, ' ')", [other.agent_id])
    assert broken_rules(fresh_database_url) == {}


def test_deleted_signal_leaves_its_transactions(db: Database, fresh_database_url: str) -> None:
    owner = trader(db)
    order = SignalOrder(user_id=owner.user_id, token_address="a token", signal_type="KIND", signal_strength=50)
    signal = db.signals.create(order)
    made = db.trades.deposit(owner.deposit("1", signal_id=signal.id))
    assert db.signals.delete(signal.id) == 1
    found = db.transactions.find_by_id(made.transaction.id)
    assert found is not None
    assert found.signal_id is None
    assert found.model_copy(update={"signal_id": signal.id}) == made.transaction


def test_purchase_stays_while_its_position_is_open(db: Database, psql: psycopg.Connection[Any]) -> None:
    owner = trader(db)
    psql.execute("ALTER TABLE agent_transactions DISABLE TRIGGER agent_transactions_append_only")
    with pytest.raises(pg.Error, match="agent_positions_purchase_transaction_id_fkey"):
        psql.execute("DELETE FROM agent_transactions WHERE agent_id = %s", [owner.agent_id])


INSERT: Final = (
    "INSERT INTO agent_transactions (agent_id, wallet_address, transaction_type, transaction_value_usd,"
    " transaction_time, input_mint, input_amount, output_mint, output_amount)"
    " VALUES (%(agent)s, {wallet}, {type}, {usd}, now(), {input}, {output})"
)
GOOD: Final = {"wallet": "%(wallet)s", "type": "'SWAP'", "usd": "1", "input": "'x', 1", "output": "'y', 2"}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"type": "'DEPOSIT'"}, "agent_transactions_sides_check"),
        ({"type": "'WITHDRAWAL'"}, "agent_transactions_sides_check"),
        ({"type": "'BURN'"}, "agent_transactions_sides_check"),
        ({"output": "NULL, NULL"}, "agent_transactions_sides_check"),
        ({"output": "'y', NULL"}, "agent_transactions_sides_check"),
        ({"output": "NULL, 2"}, "agent_transactions_sides_check"),
        ({"input": "NULL, 1"}, "agent_transactions_sides_check"),
        ({"input": "'x', NULL"}, "agent_transactions_sides_check"),
        ({"type": "'DEPOSIT'", "input": "NULL, NULL", "output": "NULL, NULL"}, "agent_transactions_sides_check"),
        ({"usd": "-1"}, "agent_transactions_transaction_value_usd_check"),
        ({"usd": "'NaN'"}, "agent_transactions_transaction_value_usd_check"),
        ({"wallet": "NULL"}, "needs a wallet"),
    ],
)
def test_entry_of_wrong_form_is_refused(
    db: Database, psql: psycopg.Connection[Any], change: dict[str, str], rule: str
) -> None:
    owner = new_owner(db)
    values = {"agent": owner.agent_id, "wallet": owner.wallet_address}
    with pytest.raises((pg.CheckViolation, pg.NotNullViolation), match=rule):
        psql.execute(INSERT.format(**{**GOOD, **change}).encode(), values)
    psql.execute(INSERT.format(**GOOD).encode(), values)
    psql.execute(INSERT.format(**{**GOOD, "type": "'DEPOSIT'", "output": "NULL, NULL"}).encode(), values)


def test_purchase_of_position_belongs_to_its_agent_and_wallet(db: Database, psql: psycopg.Connection[Any]) -> None:
    owner, other = trader(db), trader(db)
    moved = "UPDATE agent_positions SET agent_id = %s, wallet_address = %s WHERE agent_id = %s"
    psql.execute("DELETE FROM agent_positions WHERE agent_id = %s", [other.agent_id])
    with pytest.raises(pg.ForeignKeyViolation, match="is no purchase of agent"):
        psql.execute(moved, [other.agent_id, other.wallet_address, owner.agent_id])


# --- What a trade leaves ------------------------------------------------------------------------

EVERY_TRADE: Final[dict[str, Callable[[Database, Owner], Any]]] = {
    "deposit": lambda db, owner: db.trades.deposit(owner.deposit("1")),
    "withdraw": lambda db, owner: db.trades.withdraw(owner.withdraw("1")),
    "burn": lambda db, owner: db.trades.burn(owner.burn("1")),
    "swap": lambda db, owner: db.trades.swap(owner.swap("1", SOL_MINT, "1", "Other", network_fee_sol="0.1")),
    "buy": lambda db, owner: db.trades.buy(owner.buy("1", "1", "Other")),
    "dca_buy": lambda db, owner: db.trades.dca_buy(owner.dca_buy("1", "1")),
    "take_profit": lambda db, owner: db.trades.take_profit(owner.take_profit("1", "1")),
    "sell": lambda db, owner: db.trades.sell(owner.sell("10", "1")),
    "write_off": lambda db, owner: db.trades.write_off(owner.write_off()),
    "reset_wallet": lambda db, owner: db.trades.reset_wallet(owner.reset("5")),
}


@pytest.mark.parametrize("trade", EVERY_TRADE)
def test_trade_leaves_one_outbox_row_and_takes_one_version(
    db: Database, psql: psycopg.Connection[Any], trade: str
) -> None:
    owner = trader(db)
    psql.execute("DELETE FROM cache_outbox")
    last = psql.execute("SELECT last_value FROM row_version_seq").fetchone()
    assert last is not None
    result = EVERY_TRADE[trade](db, owner)
    assert psql.execute("SELECT version, entity FROM cache_outbox").fetchall() == [(last[0] + 1, "trade")]
    assert psql.execute("SELECT last_value FROM row_version_seq").fetchone() == (last[0] + 1,)
    assert {balance.version for balance in result.balances} == {last[0] + 1}


@pytest.mark.parametrize("trade", EVERY_TRADE)
def test_stored_request_is_no_copy_of_the_rows(db: Database, psql: psycopg.Connection[Any], trade: str) -> None:
    """It keeps what no other row has: digest, balances, and the position where it stays open and was changed."""
    owner = trader(db)
    result = EVERY_TRADE[trade](db, owner)
    row = psql.execute(
        "SELECT pg_column_size(r), r.balances, r.position_values, r.transaction_ids FROM trade_requests AS r"
        " WHERE r.agent_id = %s ORDER BY r.version DESC LIMIT 1",
        [owner.agent_id],
    ).fetchone()
    assert row is not None
    size, balances, position, transactions = row
    assert sorted(balances) == sorted(balance.balance for balance in result.balances)
    position_is_stored = trade in ("dca_buy", "take_profit")
    assert (position is not None) is position_is_stored
    assert (transactions is not None) is (trade == "reset_wallet")
    assert size <= (1100 if position_is_stored else 400)  # bytes; 1,850 before, for a buy


def test_other_writers_leave_a_row_for_each_change(db: Database, psql: psycopg.Connection[Any]) -> None:
    owner = trader(db)
    psql.execute("DELETE FROM cache_outbox")
    with db.transaction() as tx:
        tx.trades.deposit(owner.deposit("1"))
        tx._connection.execute("UPDATE agent_balances SET last_updated = now() WHERE agent_id = %s", [owner.agent_id])
    assert [entity for (entity,) in psql.execute("SELECT entity FROM cache_outbox ORDER BY version")] == [
        "trade",
        "balance",
        "balance",
    ]


# --- Versions -----------------------------------------------------------------------------------


def test_releases_with_two_versions_of_function_run_side_by_side(
    db: Database, psql: psycopg.Connection[Any], fresh_database_url: str
) -> None:
    """A later release adds trade_buy_v2 and calls it, while services of this one go on with v1."""
    row = psql.execute("SELECT pg_get_functiondef('trade_buy_v1'::regproc)").fetchone()
    assert row is not None
    psql.execute(re.sub(r"\btrade_buy_v1\b", "trade_buy_v2", row[0]).encode())
    later = _next_release(fresh_database_url)
    with later:
        for number in range(3):
            owner = new_owner(db)
            db.trades.deposit(owner.deposit("10"))
            order = owner.buy("1", "10", f"token {number}")
            made = later.trades.buy(order)
            assert db.trades.buy(order) == made.model_copy(update={"duplicate": True})
            assert db.trades.buy(owner.buy("1", "10")).position is not None
            assert later.trades.sell(owner.sell("10", "2")).swap is not None
    psql.execute("DROP FUNCTION trade_buy_v2")
    owner = trader(db)
    assert balance_of(db, owner, TOKEN) == 10
    assert broken_rules(fresh_database_url) == {}


def _next_release(url: str) -> Database:
    """A database object whose purchase calls version 2."""
    later = Database(url)
    session: Any = later.trades._session
    run = session.run

    def run_version_2(bound: Any, call: Any) -> Any:
        return run(bound, call._replace(text=call.text.replace(b"trade_buy_v1", b"trade_buy_v2")))

    session.run = run_version_2
    return later


@pytest.mark.parametrize(
    ("function", "migration"),
    [("trade_sell_v1", "_trade_sell"), ("change_balances_v1", "_trade_steps")],
)
def test_missing_function_names_its_migration(
    db: Database, psql: psycopg.Connection[Any], fresh_database_url: str, function: str, migration: str
) -> None:
    owner = trader(db)
    before = rows_of(fresh_database_url, owner.agent_id)
    psql.execute(f"DROP FUNCTION {function}".encode())
    with pytest.raises(SchemaNotReady, match=rf"function {function} is missing.*apply migration \d+{migration}"):
        db.trades.sell(owner.sell("10", "1"))
    assert rows_of(fresh_database_url, owner.agent_id) == before


def test_function_of_other_signature_is_missing(db: Database, psql: psycopg.Connection[Any]) -> None:
    psql.execute("DROP FUNCTION trade_sell_v1")
    psql.execute("CREATE FUNCTION trade_sell_v1(p_request_id uuid) RETURNS void LANGUAGE sql AS ''")
    with pytest.raises(SchemaNotReady, match="trade_sell_v1 is missing, or another version"):
        db.trades.sell(trader(db).sell("10", "1"))


def test_wallet_of_another_tenant_is_not_found(roled: RoledDatabase) -> None:
    settings = Settings.from_url(roled.url_of("app"))
    with Database(settings) as app:
        owner, other = trader(app), trader(app)
    with Database(settings, tenant=owner.user_id) as mine:
        for stolen in (other, Owner(owner.user_id, owner.agent_id, other.wallet_address)):
            with pytest.raises(WalletNotFound):
                mine.trades.withdraw(stolen.withdraw("1"))
        assert isinstance(mine.trades.execute_many([other.withdraw("1")])[0], WalletNotFound)
        assert isinstance(mine.trades.withdraw(owner.withdraw("1")).transaction.id, UUID)
