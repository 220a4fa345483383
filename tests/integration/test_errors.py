"""PostgreSQL's errors, each provoked on a real server, and the package's class and message for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb

from nexgent_db import Database, Settings
from nexgent_db.embedded import postgres
from nexgent_db.errors import (
    AuthenticationFailed,
    CheckViolation,
    ConnectionLost,
    ConstraintViolation,
    DatabaseError,
    DatabaseUnavailable,
    EmailTaken,
    ForeignKeyViolation,
    InvalidInput,
    LockTimeout,
    MigrationError,
    NexgentError,
    NotNullViolation,
    NumericOverflow,
    SchemaChanged,
    SchemaNotReady,
    StatementCanceled,
    StatementTimeout,
    TooManyConnections,
    TransactionAborted,
    TransactionConflict,
    UniqueViolation,
    translate,
)
from nexgent_db.migrations import Migrator

SECRET = "s3cret"


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection in a transaction that is rolled back."""
    with psycopg.connect(database_url) as connection:
        yield connection
        connection.rollback()


@contextmanager
def another(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """One more connection, committing each statement."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def refusal(connection: psycopg.Connection[Any], sql: str, *values: object) -> NexgentError:
    """The server's error for a statement, translated and raised from the driver's as the package does."""
    with pytest.raises(NexgentError) as refused:
        try:
            connection.execute(sql.encode(), values)
        except psycopg.Error as error:
            raise translate(error, "things.find") from error
    assert isinstance(refused.value.__cause__, psycopg.Error), "the driver's error is kept"
    assert len(str(refused.value).splitlines()) == 1
    assert str(refused.value).startswith("things.find: ")
    if isinstance(refused.value, DatabaseError):
        assert refused.value.sqlstate == refused.value.__cause__.sqlstate
    return refused.value


def new_user(connection: psycopg.Connection[Any]) -> UUID:
    row = connection.execute(
        "INSERT INTO users (email, password_hash) VALUES (%s, %s) RETURNING id", [f"{uuid4()}@example.org", SECRET]
    ).fetchone()
    assert row is not None
    found: UUID = row[0]
    return found


# --- Constraints --------------------------------------------------------------------------------


def constraint_of(error: NexgentError, kind: type[ConstraintViolation]) -> tuple[str | None, str | None]:
    assert type(error) is kind
    assert SECRET not in str(error)
    return error.table, error.constraint


def test_duplicate_key_is_unique_violation(connection: psycopg.Connection[Any]) -> None:
    connection.execute("INSERT INTO users (email) VALUES ('Taken@example.org')")
    error = refusal(connection, "INSERT INTO users (email) VALUES ('taken@example.org')")
    assert constraint_of(error, EmailTaken) == ("users", "users_lower_email_key")
    assert isinstance(error, EmailTaken)
    assert error.email == "taken@example.org"
    assert error.details["email"] == "taken@example.org"
    assert "example.org" not in str(error)


def test_duplicate_api_key_error_hides_hash(connection: psycopg.Connection[Any]) -> None:
    insert = "INSERT INTO api_keys (user_id, name, key_hash, key_prefix) VALUES (%s, 'k', %s, 'nex_abcd')"
    user_id = new_user(connection)
    connection.execute(insert.encode(), [user_id, SECRET])
    error = refusal(connection, insert, user_id, SECRET)
    assert constraint_of(error, UniqueViolation) == ("api_keys", "api_keys_key_hash_key")


def test_missing_referenced_row_is_foreign_key_violation(connection: psycopg.Connection[Any]) -> None:
    error = refusal(connection, "INSERT INTO agents (user_id, name) VALUES (%s, 'a')", UUID(int=1))
    assert constraint_of(error, ForeignKeyViolation) == ("agents", "agents_user_id_fkey")
    assert str(UUID(int=1)) in str(error)


def test_check_violation_hides_row(connection: psycopg.Connection[Any]) -> None:
    insert = "INSERT INTO agents (user_id, name, trading_mode) VALUES (%s, %s, 'neither')"
    error = refusal(connection, insert, new_user(connection), SECRET)
    assert constraint_of(error, CheckViolation) == ("agents", "agents_trading_mode_check")
    assert "agents_trading_mode_check" in str(error)


def test_not_null_violation_hides_row(connection: psycopg.Connection[Any]) -> None:
    error = refusal(connection, "INSERT INTO users (email, password_hash) VALUES (NULL, %s)", SECRET)
    assert constraint_of(error, NotNullViolation)[0] == "users"
    assert '"email"' in str(error)


# --- Bad values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("INSERT INTO users (email) VALUES (%s)", "x" * 256),
        ("SELECT id FROM users WHERE email = %s", "a\0b"),
        ("SELECT %s::jsonb", Jsonb({"a": "\0"})),
        ("SELECT %s::jsonb", Jsonb(["\ud800"])),
        ("SELECT %s::jsonb", Jsonb(float("nan"))),
        ("SELECT %s::text::uuid", "not\nan id"),
        ("SELECT %s::text::timestamptz", "2026-13-45"),
        ("SELECT %s::text::timestamptz", "300000-01-01"),
    ],
)
def test_unstorable_value_is_invalid_input(connection: psycopg.Connection[Any], sql: str, value: object) -> None:
    assert type(refusal(connection, sql, value)) is InvalidInput


@pytest.mark.parametrize("text", ["\ud800", "a\0b"])
def test_unsendable_text_is_invalid_input_and_changes_nothing(database_url: str, text: str) -> None:
    with Database(database_url) as database, database.transaction() as tx:
        with pytest.raises(InvalidInput, match=r"^email: text "):
            tx.users.find_by_email(text)
        assert tx.users.find_by_email("nobody") is None


@pytest.mark.parametrize("sql", ["SELECT 1e20::numeric(38,18)", "SELECT 2147483648::bigint::integer"])
def test_number_beyond_column_is_numeric_overflow(connection: psycopg.Connection[Any], sql: str) -> None:
    assert type(refusal(connection, sql)) is NumericOverflow


# --- The schema ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM no_such_table",
        "SELECT no_such_column FROM users",
        "SELECT no_such_function()",
        "SELECT 'x'::no_such_type",
        "CREATE TABLE no_such_schema.x ()",
    ],
)
def test_missing_table_or_column_error_says_to_migrate(connection: psycopg.Connection[Any], sql: str) -> None:
    error = refusal(connection, sql)
    assert type(error) is SchemaNotReady
    assert str(error).endswith("; migrate the database first (nexgent-db migrate)")


def test_error_keeps_server_hint(connection: psycopg.Connection[Any]) -> None:
    assert 'Perhaps you meant to reference the column "users.email"' in str(
        refusal(connection, "SELECT emails FROM users")
    )


def test_changed_result_of_prepared_statement_is_schema_changed(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TEMP TABLE changing (a integer) ON COMMIT DROP")
    connection.execute(b"SELECT * FROM changing", (), prepare=True)
    connection.execute("DO $$BEGIN ALTER TABLE changing ADD b integer; END$$")  # psycopg would see a bare ALTER
    error = refusal(connection, "SELECT * FROM changing")
    assert type(error) is SchemaChanged
    assert isinstance(error, TransactionConflict), "it may be run again"


def test_unsupported_feature_is_not_schema_changed(connection: psycopg.Connection[Any]) -> None:
    error = refusal(connection, "SELECT count(*) FROM users FOR UPDATE")
    assert type(error) is DatabaseError
    assert error.sqlstate == "0A000"


# --- Time and other transactions ----------------------------------------------------------------


def test_slow_statement_is_statement_timeout(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET LOCAL statement_timeout = 20")
    assert type(refusal(connection, "SELECT pg_sleep(5)")) is StatementTimeout


def test_canceled_statement_is_not_timeout(connection: psycopg.Connection[Any], database_url: str) -> None:
    cancel = threading.Timer(0.1, connection.cancel_safe)
    cancel.start()
    try:
        error = refusal(connection, "SELECT pg_sleep(5)")
    finally:
        cancel.join()
    assert type(error) is StatementCanceled
    assert error.sqlstate == "57014"


def test_held_lock_is_lock_timeout(connection: psycopg.Connection[Any], database_url: str) -> None:
    with another(database_url) as other:
        user_id = new_user(other)
        connection.execute("SELECT id FROM users WHERE id = %s FOR UPDATE", [user_id])
        other.execute("SET lock_timeout = 20")
        assert type(refusal(other, "DELETE FROM users WHERE id = %s", user_id)) is LockTimeout
        assert type(refusal(other, "SELECT 1 FROM users WHERE id = %s FOR UPDATE NOWAIT", user_id)) is LockTimeout


def test_deadlock_is_detected(database_url: str) -> None:
    with psycopg.connect(database_url) as first, another(database_url) as second:
        ids = [new_user(second), new_user(second)]
        second.execute("BEGIN")
        lock = b"SELECT id FROM users WHERE id = %s FOR UPDATE"
        second.execute("SET LOCAL deadlock_timeout = '10s'")  # so that the other one is the victim
        first.execute("SET LOCAL deadlock_timeout = '20ms'")
        first.execute(lock, ids[:1])
        second.execute(lock, ids[1:])
        waiting = threading.Thread(target=second.execute, args=(lock, ids[:1]))
        waiting.start()
        try:
            error = refusal(first, lock.decode(), ids[1])
            first.rollback()
        finally:
            waiting.join()
    assert type(error) is TransactionConflict
    assert error.sqlstate == "40P01"


def test_serialization_failure_is_conflict(database_url: str) -> None:
    with psycopg.connect(database_url) as first, another(database_url) as second:
        user_id = new_user(second)
        first.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        first.execute("SELECT id FROM users WHERE id = %s", [user_id])
        second.execute("UPDATE users SET failed_login_attempts = 1 WHERE id = %s", [user_id])
        error = refusal(first, "UPDATE users SET failed_login_attempts = 2 WHERE id = %s", user_id)
        first.rollback()
    assert type(error) is TransactionConflict
    assert error.sqlstate == "40001"


def test_statement_after_error_is_transaction_aborted(connection: psycopg.Connection[Any]) -> None:
    refusal(connection, "SELECT 1/0")
    assert type(refusal(connection, "SELECT 1")) is TransactionAborted


@pytest.mark.parametrize("how", ["terminated", "idle", "idle session", "transaction"])
def test_connection_ended_by_server_is_lost(database_url: str, how: str) -> None:
    connection = psycopg.connect(database_url)
    try:
        if how == "transaction" and connection.info.server_version < 170000:
            pytest.skip("transaction_timeout came with PostgreSQL 17")
        if how == "terminated":
            with another(database_url) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
        else:
            name = {"idle": "idle_in_transaction_session_timeout", "idle session": "idle_session_timeout"}.get(how)
            if how == "idle session":
                connection.autocommit = True
            connection.execute(f"SET {name or 'transaction_timeout'} = 20".encode())
            threading.Event().wait(0.2)
        error = refusal(connection, "SELECT 1")
    finally:
        connection.close()
    assert type(error) is ConnectionLost


# --- Reaching the server ------------------------------------------------------------------------


def opening(conninfo: str) -> NexgentError:
    """The error of opening a database there."""
    settings = replace(Settings.from_url(conninfo), connect_timeout_s=2)
    with pytest.raises(DatabaseUnavailable) as refused, Database(settings):
        pass
    assert len(str(refused.value).splitlines()) == 1
    assert SECRET not in str(refused.value)
    assert isinstance(refused.value.__cause__, psycopg.Error)
    assert SECRET not in str(refused.value.__cause__)
    return refused.value


@pytest.mark.parametrize(
    "place",
    ["host=/nowhere", "host=127.0.0.1 port=1", "host=does-not-exist.invalid", "host=127.0.0.1,/nowhere port=1,2"],
)
def test_missing_server_raises_unavailable(place: str) -> None:
    error = opening(f"{place} user=alice password={SECRET} dbname=x")
    assert type(error) is DatabaseUnavailable
    assert str(error).endswith("; is the server of DATABASE_URL running?")


def test_missing_database_is_named(database_url: str) -> None:
    error = opening(make_conninfo(database_url, dbname="no_such_database"))
    assert type(error) is DatabaseUnavailable
    assert 'database "no_such_database" does not exist' in str(error)
    assert "running?" not in str(error)


ODD_PASSWORD = "".join(map(chr, range(33, 127))) + " äß€"


@pytest.fixture(scope="module")
def guarded() -> Iterator[dict[str, Any]]:
    """A server of this module's own that asks ``alice`` for her password; it listens on its socket only."""
    rules = [
        "local all postgres trust",
        "local all alice scram-sha-256",
        "local all odd scram-sha-256",
        "local all bob reject",
        "local all nobody_here trust",
        "local all sleeper trust",
    ]
    with postgres() as url:
        with another(url) as connection:
            connection.execute(f"CREATE ROLE alice LOGIN PASSWORD '{SECRET}'".encode())
            connection.execute(sql.SQL("CREATE ROLE odd LOGIN PASSWORD {}").format(ODD_PASSWORD))
            connection.execute("CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN; CREATE ROLE sleeper NOLOGIN")
            shown = connection.execute("SHOW hba_file").fetchone()
            assert shown is not None
            # The server itself writes the file: the directory belongs to it, not to the account that runs the tests.
            query = " UNION ALL ".join(f"SELECT '{rule}'" for rule in rules)
            connection.execute(f"COPY ({query}) TO '{shown[0]}'".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield conninfo_to_dict(url)


def test_password_with_special_characters_connects_by_url_and_keywords(guarded: dict[str, Any]) -> None:
    role = f"odd:{quote(ODD_PASSWORD, safe='')}"
    place = urlencode({name: value for name, value in guarded.items() if name in ("host", "port")})
    from_url = Settings.from_url(f"postgresql://{role}@/{guarded['dbname']}?{place}").conninfo
    in_words = make_conninfo("", **guarded | {"user": "odd", "password": ODD_PASSWORD})
    for conninfo in (from_url, in_words):
        with Database(conninfo) as database:
            assert database.health().server_version is not None
        assert len(Migrator(conninfo).pending()) > 18
        with pytest.raises(MigrationError) as refused:
            Migrator(conninfo).migrate()
        assert ODD_PASSWORD not in str(refused.value)


def test_correct_password_connects(guarded: dict[str, Any]) -> None:
    with Database(make_conninfo("", **guarded | {"user": "alice", "password": SECRET})) as database:
        assert database.health().server_version is not None


@pytest.mark.parametrize(
    ("user", "password", "said"),
    [
        ("alice", f"{SECRET} but wrong", 'password authentication failed for user "alice"'),
        ("alice", None, "no password supplied"),
        ("bob", SECRET, "pg_hba.conf"),
        ("carol", SECRET, "no pg_hba.conf entry"),
        ("nobody_here", SECRET, 'role "nobody_here" does not exist'),
        ("sleeper", SECRET, 'role "sleeper" is not permitted to log in'),
    ],
)
def test_refused_role_or_password_is_authentication_failed(
    guarded: dict[str, Any], user: str, password: str | None, said: str
) -> None:
    given = {"user": user} if password is None else {"user": user, "password": password}
    error = opening(make_conninfo("", **guarded | given))
    assert type(error) is AuthenticationFailed
    assert said in str(error)
    assert str(error).endswith("; check the role and password of DATABASE_URL")


def test_full_server_is_too_many_connections(guarded: dict[str, Any]) -> None:
    url = make_conninfo("", **guarded)
    with another(url) as connection:
        connection.execute("ALTER ROLE alice CONNECTION LIMIT 0")
        try:
            error = opening(make_conninfo("", **guarded | {"user": "alice", "password": SECRET}))
        finally:
            connection.execute("ALTER ROLE alice CONNECTION LIMIT -1")
    assert type(error) is TooManyConnections
    assert "too many connections" in str(error)


def connections_of_alice(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'alice'").fetchone()
    assert row is not None
    return int(row[0])


def test_open_fails_when_server_gives_fewer_connections_than_minimum(guarded: dict[str, Any]) -> None:
    with another(make_conninfo("", **guarded)) as connection:
        connection.execute("ALTER ROLE alice CONNECTION LIMIT 2")
        url = make_conninfo("", **guarded | {"user": "alice", "password": SECRET})
        database = Database(replace(Settings.from_url(url, {}), pool_min_size=3, connect_timeout_s=1))
        try:
            with pytest.raises(DatabaseUnavailable, match="too many connections") as refused:
                database.open()
            assert isinstance(refused.value.__cause__, psycopg.Error)
            deadline = time.monotonic() + 10  # a backend takes its time to end
            while connections_of_alice(connection) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert connections_of_alice(connection) == 0, "nothing stays open"
        finally:
            connection.execute("ALTER ROLE alice CONNECTION LIMIT -1")
        with database:  # it can be opened once there is room
            assert database.health().server_version is not None


def test_connection_of_replaced_pool_is_closed_when_released(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nexgent_db.sync.pool.CLOSE_S", 0.05)
    database = Database(database_url)
    database.open()
    lease = database._lease()
    connection = lease.acquire()
    database.close()
    assert not connection.closed
    database.open()
    lease.release()
    assert connection.closed
    database.close()
