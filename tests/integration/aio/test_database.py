"""The pool and transactions: options, nesting, retries, misuse, and lost connections."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import AsyncDatabase, AsyncTransaction, Settings
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
from tests.integration.aio.factories import Owner, new_owner
from tests.support.faults.concurrently import concurrently_async


async def _email(db: AsyncDatabase | AsyncTransaction) -> str:
    return (await db.users.create(f"{uuid4()}@example.org")).email


async def _setting(tx: AsyncTransaction, name: str) -> Any:
    cursor = await tx._connection.execute(f"SHOW {name}")
    row = await cursor.fetchone()
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


async def test_transaction_commits_at_end_and_rolls_back_on_error(db: AsyncDatabase) -> None:
    async with db.transaction() as tx:
        kept = await _email(tx)
    with pytest.raises(KeyError):
        async with db.transaction() as tx:
            lost = await _email(tx)
            raise KeyError
    assert await db.users.find_by_email(kept) is not None
    assert await db.users.find_by_email(lost) is None


async def test_nested_transaction_rolls_back_alone(db: AsyncDatabase) -> None:
    async with db.transaction() as tx:
        first = await _email(tx)
        with pytest.raises(UniqueViolation):
            async with tx.transaction() as inner:
                second = await _email(inner)
                await inner.users.create(first)
        async with tx.transaction() as inner:
            third = await _email(inner)
    found = [await db.users.find_by_email(email) is not None for email in (first, second, third)]
    assert found == [True, False, True]


async def test_transaction_is_aborted_after_error(db: AsyncDatabase) -> None:
    with pytest.raises(TransactionAborted):
        async with db.transaction() as tx:
            with pytest.raises(ForeignKeyViolation):
                await tx.agents.create(uuid4(), "nobody's")
            await tx.users.find_by_id(uuid4())


async def test_database_is_refused_inside_its_own_transaction(db: AsyncDatabase) -> None:
    async with db.transaction() as tx:
        with pytest.raises(BlockMisuse, match="use the transaction's object"):
            await db.users.find_by_id(uuid4())
        with pytest.raises(BlockMisuse):
            async with db.transaction():
                pass
        assert await tx.users.find_by_id(uuid4()) is None
    assert await db.users.find_by_id(uuid4()) is None


async def test_other_callers_use_database_during_open_transaction(db: AsyncDatabase) -> None:
    async with db.transaction() as tx:
        email = await _email(tx)
        assert await concurrently_async([lambda: db.users.find_by_email(email)]) == [None]


async def test_transaction_is_refused_after_its_end(db: AsyncDatabase) -> None:
    async with db.transaction() as tx, tx.transaction() as inner:
        pass
    for ended in (tx, inner):
        with pytest.raises(BlockMisuse, match="has ended"):
            await ended.users.find_by_id(uuid4())
    with pytest.raises(BlockMisuse, match="has ended"):
        async with tx.transaction():
            pass


async def test_options_apply_to_their_transaction_only(db: AsyncDatabase) -> None:
    async with db.transaction(
        isolation="serializable", read_only=True, deferrable=True, statement_timeout_s=1.5, lock_timeout_s=0.25
    ) as tx:
        assert [
            await _setting(tx, name)
            for name in (
                "transaction_isolation",
                "transaction_read_only",
                "transaction_deferrable",
                "statement_timeout",
                "lock_timeout",
            )
        ] == ["serializable", "on", "on", "1500ms", "250ms"]
    async with db.transaction() as tx:
        assert [
            await _setting(tx, name)
            for name in ("transaction_isolation", "transaction_read_only", "statement_timeout", "lock_timeout")
        ] == ["read committed", "off", "30s", "5s"]


async def test_read_only_transaction_refuses_writes(db: AsyncDatabase) -> None:
    with pytest.raises(ReadOnlyBlock):
        async with db.transaction(read_only=True) as tx:
            await _email(tx)


async def test_pipelined_transaction_is_atomic(db: AsyncDatabase, owner: Owner) -> None:
    async with db.transaction(pipeline=True) as tx:
        for _ in range(3):
            await tx.trades.deposit(owner.deposit("1"))
    assert len(await db.transactions.list_by_agent(owner.agent_id)) == 3


async def test_slow_statement_times_out(db: AsyncDatabase) -> None:
    with pytest.raises(StatementTimeout):
        async with db.transaction(statement_timeout_s=0.05) as tx:
            await tx._connection.execute("SELECT pg_sleep(5)")


async def test_wait_for_lock_times_out(db: AsyncDatabase, owner: Owner) -> None:
    async with AsyncDatabase(db.settings) as rival, rival.transaction() as holder:
        await holder.trades.deposit(owner.deposit("1"))
        with pytest.raises(LockTimeout):
            async with db.transaction(lock_timeout_s=0.05) as tx:
                await tx.trades.deposit(owner.deposit("1"))


async def test_constraint_violation_names_constraint(db: AsyncDatabase) -> None:
    email = await _email(db)
    with pytest.raises(UniqueViolation) as refused:
        await db.users.create(email.upper())
    assert (refused.value.constraint, refused.value.table) == ("users_lower_email_key", "users")
    assert "users.create" in str(refused.value)
    assert isinstance(refused.value.__cause__, psycopg.errors.UniqueViolation)
    with pytest.raises(CheckViolation) as broken:
        async with db.transaction() as tx:
            owner = await new_owner(db=tx)  # type: ignore[arg-type]  # a transaction has the same repositories
            await tx._connection.execute(
                "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)"
                " VALUES (%s, %s, 'T', 'T', -1)",
                [owner.agent_id, owner.wallet_address],
            )
    assert broken.value.constraint == "agent_balances_balance_check"


# --- Retries ------------------------------------------------------------------------------------


async def test_run_transaction_returns_result_of_function(db: AsyncDatabase) -> None:
    email = await db.run_transaction(_email)
    assert await db.users.find_by_email(email) is not None


async def test_run_transaction_retries_conflict_up_to_limit(db: AsyncDatabase) -> None:
    tries = 0

    async def conflict(tx: AsyncTransaction) -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise TransactionConflict("simulated: the server's own are tested with the trades")
        return await _email(tx)

    email = await db.run_transaction(conflict)
    assert (tries, await db.users.find_by_email(email) is not None) == (3, True)
    tries = -100
    with pytest.raises(TransactionConflict):
        await db.run_transaction(conflict, attempts=2)
    assert tries == -98


@pytest.mark.parametrize("error", [KeyError(), StatementTimeout("simulated"), DatabaseUnavailable("simulated")])
async def test_run_transaction_does_not_retry_other_errors(db: AsyncDatabase, error: Exception) -> None:
    tries = 0

    async def fail(tx: AsyncTransaction) -> None:
        nonlocal tries
        tries += 1
        raise error

    with pytest.raises(type(error)):
        await db.run_transaction(fail)
    assert tries == 1


async def test_run_transaction_survives_lost_connection(fresh_database_url: str) -> None:
    async with AsyncDatabase(fresh_database_url) as db:
        owner = await new_owner(db)
        order = owner.deposit("10")
        tries = 0

        async def deposit(tx: AsyncTransaction) -> None:
            nonlocal tries
            tries += 1
            await tx.trades.deposit(order)
            if tries == 1:
                _terminate(fresh_database_url)

        await db.run_transaction(deposit)
        assert tries == 2
        balances = await db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
        assert [balance.balance for balance in balances] == [10]


async def test_write_of_lost_connection_is_not_sent_again(fresh_database_url: str) -> None:
    """Only its caller knows whether it may be repeated."""
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE SEQUENCE tries;"
            "CREATE FUNCTION end_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF nextval('public.tries') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(60); END IF;"
            " RETURN NULL; END $$;"
            "CREATE TRIGGER end_first AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION end_first()"
        )
        async with AsyncDatabase(fresh_database_url) as db:
            with pytest.raises(ConnectionLost):
                await _email(db)
        assert connection.execute("SELECT last_value FROM tries").fetchone() == (1,)


# --- The pool -----------------------------------------------------------------------------------


async def test_connections_ended_by_server_are_replaced_silently(fresh_database_url: str) -> None:
    async with AsyncDatabase(replace(Settings.from_url(fresh_database_url), pool_min_size=3)) as db:
        await concurrently_async([lambda: db.users.find_by_id(uuid4())] * 3)
        _terminate(fresh_database_url)
        for _ in range(6):
            assert await db.users.find_by_id(uuid4()) is None


async def test_lost_connection_in_transaction_is_raised(fresh_database_url: str) -> None:
    async with AsyncDatabase(fresh_database_url) as db:
        with pytest.raises(ConnectionLost):
            async with db.transaction() as tx:
                await _email(tx)
                _terminate(fresh_database_url)
                await _email(tx)
        assert await _email(db)


async def test_wait_for_connection_times_out(database_url: str) -> None:
    settings = replace(Settings.from_url(database_url), pool_max_size=1, pool_timeout_s=0.1, pool_max_waiting=1)
    async with AsyncDatabase(settings) as db, db.transaction():
        waiting = await concurrently_async([lambda: db.users.find_by_id(uuid4())] * 3, return_exceptions=True)
        assert [type(error) for error in waiting] == [PoolExhausted] * 3


async def test_changed_result_type_is_prepared_again(fresh_database_url: str) -> None:
    async with AsyncDatabase(replace(Settings.from_url(fresh_database_url), pool_max_size=1)) as db:
        user_id = (await db.users.create("a@example.org")).id
        for _ in range(5):
            await db.users.find_by_id(user_id)
        with psycopg.connect(fresh_database_url) as connection:
            connection.execute("ALTER TABLE users ALTER COLUMN email TYPE varchar(300)")
        user = await db.users.find_by_id(user_id)
        assert user is not None
        assert user.email == "a@example.org"
        with psycopg.connect(fresh_database_url) as connection:
            connection.execute("ALTER TABLE users ALTER COLUMN email TYPE varchar(200)")

        async def find(tx: AsyncTransaction) -> bool:
            return await tx.users.find_by_id(user_id) is not None

        for _ in range(5):
            await db.users.find_by_id(user_id)
        with psycopg.connect(fresh_database_url) as connection:
            connection.execute("ALTER TABLE users ALTER COLUMN email TYPE text")
        assert await db.run_transaction(find)


async def test_unopened_database_is_refused(database_url: str) -> None:
    db = AsyncDatabase(database_url)
    with pytest.raises(BlockMisuse, match="not open"):
        await db.users.find_by_id(uuid4())
    async with db:
        with pytest.raises(BlockMisuse, match="open already"):
            await db.open()
    with pytest.raises(BlockMisuse, match="not open"):
        await db.users.find_by_id(uuid4())


async def test_unmigrated_database_error_says_to_migrate(empty_database: str) -> None:
    async with AsyncDatabase(empty_database) as db:
        with pytest.raises(SchemaNotReady, match="nexgent-db migrate"):
            await db.users.find_by_id(uuid4())


async def test_missing_server_is_unavailable() -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        await AsyncDatabase("postgresql://someone:s3cret@127.0.0.1:1/nowhere").open()
    assert "s3cret" not in f"{refused.value}{refused.value!r}{refused.value.__cause__}"
    assert "\n" not in str(refused.value)


async def test_database_url_comes_from_environment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ConfigurationError, match="DATABASE_URL is not set"):
        AsyncDatabase.from_env()
    monkeypatch.setenv("DATABASE_URL", database_url)
    async with AsyncDatabase.from_env() as db:
        assert (await db.health()).ok


async def test_health_reports_version_and_pool_and_never_raises(fresh_database_url: str) -> None:
    async with AsyncDatabase(fresh_database_url) as db:
        health = await db.health()
        assert health.ok
        assert health.server_version is not None
        assert health.server_version >= 150000
        assert health.round_trip_s > 0
        assert health.pool_size >= 1


async def test_health_of_lost_server_is_reported(fresh_database_url: str) -> None:
    async with AsyncDatabase(replace(Settings.from_url(fresh_database_url), pool_timeout_s=0.3)) as db:
        name = psycopg.conninfo.conninfo_to_dict(fresh_database_url)["dbname"]
        maintenance = psycopg.conninfo.make_conninfo(fresh_database_url, dbname="postgres")
        with psycopg.connect(maintenance, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            health = await db.health()
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert not health.ok
        assert health.problem
        recovered = time.monotonic()
        while not (await db.health()).ok:
            assert time.monotonic() < recovered + 1
            await asyncio.sleep(0.01)


async def test_repr_hides_password() -> None:
    db = AsyncDatabase("postgresql://someone:s3cret@db.example.org/nexgent")
    assert repr(db) == "<AsyncDatabase someone at db.example.org, database nexgent>"
    assert "s3cret" not in repr(db.settings)
