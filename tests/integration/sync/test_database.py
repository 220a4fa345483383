# Generated from tests/integration/aio/test_database.py by `make sync`: do not edit.
"""The pool and transactions: options, nesting, retries, misuse, and lost connections."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database, Settings, Transaction
from nexgent_db.errors import (
    BlockMisuse,
    CheckViolation,
    ConfigurationError,
    ConnectionLost,
    DatabaseUnavailable,
    ForeignKeyViolation,
    LockTimeout,
    PoolExhausted,
    ReadOnlyBlock,
    SchemaNotReady,
    StatementTimeout,
    TransactionAborted,
    TransactionConflict,
    UniqueViolation,
)
from tests.integration.sync.factories import Owner, new_owner
from tests.support.faults.concurrently import concurrently


def _email(db: Database | Transaction) -> str:
    return db.users.create(f"{uuid4()}@example.org").email


def _setting(tx: Transaction, name: str) -> Any:
    cursor = tx._connection.execute(f"SHOW {name}")
    row = cursor.fetchone()
    assert row is not None
    return row[0]


def _terminate(database_url: str, application_name: str = "nexgent-db") -> None:
    """End every backend of the package's connections to this database, as a failing server would."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = %s",
            [application_name],
        )


# --- Blocks -------------------------------------------------------------------------------------


def test_transaction_commits_at_end_and_rolls_back_on_error(db: Database) -> None:
    with db.transaction() as tx:
        kept = _email(tx)
    with pytest.raises(KeyError), db.transaction() as tx:
        lost = _email(tx)
        raise KeyError
    assert db.users.find_by_email(kept) is not None
    assert db.users.find_by_email(lost) is None


def test_nested_transaction_rolls_back_alone(db: Database) -> None:
    with db.transaction() as tx:
        first = _email(tx)
        with pytest.raises(UniqueViolation), tx.transaction() as inner:
            second = _email(inner)
            inner.users.create(first)
        with tx.transaction() as inner:
            third = _email(inner)
    found = [db.users.find_by_email(email) is not None for email in (first, second, third)]
    assert found == [True, False, True]


def test_transaction_is_aborted_after_error(db: Database) -> None:
    with pytest.raises(TransactionAborted), db.transaction() as tx:
        with pytest.raises(ForeignKeyViolation):
            tx.agents.create(uuid4(), "nobody's")
        tx.users.find_by_id(uuid4())


def test_database_is_refused_inside_its_own_transaction(db: Database) -> None:
    with db.transaction() as tx:
        with pytest.raises(BlockMisuse, match="use the transaction's object"):
            db.users.find_by_id(uuid4())
        with pytest.raises(BlockMisuse), db.transaction():
            pass
        assert tx.users.find_by_id(uuid4()) is None
    assert db.users.find_by_id(uuid4()) is None


def test_other_callers_use_database_during_open_transaction(db: Database) -> None:
    with db.transaction() as tx:
        email = _email(tx)
        assert concurrently([lambda: db.users.find_by_email(email)]) == [None]


def test_transaction_is_refused_after_its_end(db: Database) -> None:
    with db.transaction() as tx, tx.transaction() as inner:
        pass
    for ended in (tx, inner):
        with pytest.raises(BlockMisuse, match="has ended"):
            ended.users.find_by_id(uuid4())
    with pytest.raises(BlockMisuse, match="has ended"), tx.transaction():
        pass


def test_options_apply_to_their_transaction_only(db: Database) -> None:
    with db.transaction(
        isolation="serializable", read_only=True, deferrable=True, statement_timeout_s=1.5, lock_timeout_s=0.25
    ) as tx:
        assert [
            _setting(tx, name)
            for name in (
                "transaction_isolation",
                "transaction_read_only",
                "transaction_deferrable",
                "statement_timeout",
                "lock_timeout",
            )
        ] == ["serializable", "on", "on", "1500ms", "250ms"]
    with db.transaction() as tx:
        assert [
            _setting(tx, name)
            for name in ("transaction_isolation", "transaction_read_only", "statement_timeout", "lock_timeout")
        ] == ["read committed", "off", "30s", "5s"]


def test_read_only_transaction_refuses_writes(db: Database) -> None:
    with pytest.raises(ReadOnlyBlock), db.transaction(read_only=True) as tx:
        _email(tx)


def test_pipelined_transaction_is_atomic(db: Database, owner: Owner) -> None:
    with db.transaction(pipeline=True) as tx:
        for _ in range(3):
            tx.trades.deposit(owner.deposit("1"))
    assert len(db.transactions.list_by_agent(owner.agent_id)) == 3


def test_slow_statement_times_out(db: Database) -> None:
    with pytest.raises(StatementTimeout), db.transaction(statement_timeout_s=0.05) as tx:
        tx._connection.execute("SELECT pg_sleep(5)")


def test_wait_for_lock_times_out(db: Database, owner: Owner) -> None:
    with Database(db.settings) as rival, rival.transaction() as holder:
        holder.trades.deposit(owner.deposit("1"))
        with pytest.raises(LockTimeout), db.transaction(lock_timeout_s=0.05) as tx:
            tx.trades.deposit(owner.deposit("1"))


def test_constraint_violation_names_constraint(db: Database) -> None:
    email = _email(db)
    with pytest.raises(UniqueViolation) as refused:
        db.users.create(email.upper())
    assert (refused.value.constraint, refused.value.table) == ("users_lower_email_key", "users")
    assert "users.create" in str(refused.value)
    assert isinstance(refused.value.__cause__, psycopg.errors.UniqueViolation)
    with pytest.raises(CheckViolation) as broken, db.transaction() as tx:
        owner = new_owner(db=tx)  # type: ignore[arg-type]  # a transaction has the same repositories
        tx._connection.execute(
            "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)"
            " VALUES (%s, %s, 'T', 'T', -1)",
            [owner.agent_id, owner.wallet_address],
        )
    assert broken.value.constraint == "agent_balances_balance_check"


# --- Retries ------------------------------------------------------------------------------------


def test_run_transaction_returns_result_of_function(db: Database) -> None:
    email = db.run_transaction(_email)
    assert db.users.find_by_email(email) is not None


def test_run_transaction_retries_conflict_up_to_limit(db: Database) -> None:
    tries = 0

    def conflict(tx: Transaction) -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise TransactionConflict("simulated: the server's own are tested with the trades")
        return _email(tx)

    email = db.run_transaction(conflict)
    assert (tries, db.users.find_by_email(email) is not None) == (3, True)
    tries = -100
    with pytest.raises(TransactionConflict):
        db.run_transaction(conflict, attempts=2)
    assert tries == -98


@pytest.mark.parametrize("error", [KeyError(), StatementTimeout("simulated"), DatabaseUnavailable("simulated")])
def test_run_transaction_does_not_retry_other_errors(db: Database, error: Exception) -> None:
    tries = 0

    def fail(tx: Transaction) -> None:
        nonlocal tries
        tries += 1
        raise error

    with pytest.raises(type(error)):
        db.run_transaction(fail)
    assert tries == 1


def test_run_transaction_survives_lost_connection(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as db:
        owner = new_owner(db)
        order = owner.deposit("10")
        tries = 0

        def deposit(tx: Transaction) -> None:
            nonlocal tries
            tries += 1
            tx.trades.deposit(order)
            if tries == 1:
                _terminate(fresh_database_url)

        db.run_transaction(deposit)
        assert tries == 2
        balances = db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
        assert [balance.balance for balance in balances] == [10]


def test_write_of_lost_connection_is_not_sent_again(fresh_database_url: str) -> None:
    """Only its caller knows whether it may be repeated."""
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE SEQUENCE tries;"
            "CREATE FUNCTION end_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF nextval('public.tries') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(60); END IF;"
            " RETURN NULL; END $$;"
            "CREATE TRIGGER end_first AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION end_first()"
        )
        with Database(fresh_database_url) as db, pytest.raises(ConnectionLost):
            _email(db)
        assert connection.execute("SELECT last_value FROM tries").fetchone() == (1,)


# --- The pool -----------------------------------------------------------------------------------


def test_connections_ended_by_server_are_replaced_silently(fresh_database_url: str) -> None:
    with Database(replace(Settings.from_url(fresh_database_url), pool_min_size=3)) as db:
        concurrently([lambda: db.users.find_by_id(uuid4())] * 3)
        _terminate(fresh_database_url)
        for _ in range(6):
            assert db.users.find_by_id(uuid4()) is None


def test_lost_connection_in_transaction_is_raised(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as db:
        with pytest.raises(ConnectionLost), db.transaction() as tx:
            _email(tx)
            _terminate(fresh_database_url)
            _email(tx)
        assert _email(db)


def test_wait_for_connection_times_out(database_url: str) -> None:
    settings = replace(Settings.from_url(database_url), pool_max_size=1, pool_timeout_s=0.1, pool_max_waiting=1)
    with Database(settings) as db, db.transaction():
        waiting = concurrently([lambda: db.users.find_by_id(uuid4())] * 3, return_exceptions=True)
        assert [type(error) for error in waiting] == [PoolExhausted] * 3


def test_changed_result_type_is_prepared_again(fresh_database_url: str) -> None:
    with Database(replace(Settings.from_url(fresh_database_url), pool_max_size=1)) as db:
        user_id = db.users.create("a@example.org").id
        for _ in range(5):
            db.users.find_by_id(user_id)
        with psycopg.connect(fresh_database_url) as connection:
            connection.execute("ALTER TABLE users ALTER COLUMN email TYPE varchar(300)")
        user = db.users.find_by_id(user_id)
        assert user is not None
        assert user.email == "a@example.org"
        with psycopg.connect(fresh_database_url) as connection:
            connection.execute("ALTER TABLE users ALTER COLUMN email TYPE varchar(200)")

        def find(tx: Transaction) -> bool:
            return tx.users.find_by_id(user_id) is not None

        for _ in range(5):
            db.users.find_by_id(user_id)
        with psycopg.connect(fresh_database_url) as connection:
            connection.execute("ALTER TABLE users ALTER COLUMN email TYPE text")
        assert db.run_transaction(find)


def test_unopened_database_is_refused(database_url: str) -> None:
    db = Database(database_url)
    with pytest.raises(BlockMisuse, match="not open"):
        db.users.find_by_id(uuid4())
    with db, pytest.raises(BlockMisuse, match="open already"):
        db.open()
    with pytest.raises(BlockMisuse, match="not open"):
        db.users.find_by_id(uuid4())


def test_unmigrated_database_error_says_to_migrate(empty_database: str) -> None:
    with Database(empty_database) as db, pytest.raises(SchemaNotReady, match="nexgent-db migrate"):
        db.users.find_by_id(uuid4())


def test_missing_server_is_unavailable() -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        Database("postgresql://someone:s3cret@127.0.0.1:1/nowhere").open()
    assert "s3cret" not in f"{refused.value}{refused.value!r}{refused.value.__cause__}"
    assert "\n" not in str(refused.value)


def test_database_url_comes_from_environment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ConfigurationError, match="DATABASE_URL is not set"):
        Database.from_env()
    monkeypatch.setenv("DATABASE_URL", database_url)
    with Database.from_env() as db:
        assert db.health().ok


def test_health_reports_version_and_pool_and_never_raises(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as db:
        health = db.health()
        assert health.ok
        assert health.server_version is not None
        assert health.server_version >= 150000
        assert health.round_trip_s > 0
        assert health.pool_size >= 1


def test_health_of_lost_server_is_reported(fresh_database_url: str) -> None:
    with Database(replace(Settings.from_url(fresh_database_url), pool_timeout_s=0.3)) as db:
        name = psycopg.conninfo.conninfo_to_dict(fresh_database_url)["dbname"]
        maintenance = psycopg.conninfo.make_conninfo(fresh_database_url, dbname="postgres")
        with psycopg.connect(maintenance, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            health = db.health()
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert not health.ok
        assert health.problem
        recovered = time.monotonic()
        while not db.health().ok:
            assert time.monotonic() < recovered + 1
            time.sleep(0.01)


def test_repr_hides_password() -> None:
    db = Database("postgresql://someone:s3cret@db.example.org/nexgent")
    assert repr(db) == "<Database someone at db.example.org, database nexgent>"
    assert "s3cret" not in repr(db.settings)
