"""A server whose messages are in German: errors are judged by SQLSTATE and by the state of the protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nexgent_db import Database, Settings
from nexgent_db.errors import (
    AuthenticationFailed,
    ConnectionLost,
    DatabaseUnavailable,
    EmailTaken,
    ForeignKeyViolation,
    LedgerProtected,
    LockTimeout,
    ReadOnlyBlock,
    SchemaNotReady,
    StatementCanceled,
    StatementTimeout,
    TransactionConflict,
    WalletTaken,
)
from nexgent_db.migrations import MigrationError, MigrationLocked, Migrator
from tests.integration.sync.factories import new_owner
from tests.support.builders.migrating import Write
from tests.support.servers.localized import DEBIAN, localized_server, why_no_debian_server, why_no_locales

REASON = why_no_debian_server() or why_no_locales()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture(scope="module")
def german() -> Iterator[str]:
    """A migrated database."""
    with localized_server("de_DE.UTF-8", programs=DEBIAN) as server:
        server.server.configure(lc_messages="de_DE.UTF-8")
        with psycopg.connect(server.server.url) as connection, pytest.raises(psycopg.Error, match="existiert nicht"):
            connection.execute("SELECT * FROM nowhere")
        with server.database("ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'de_DE.UTF-8'") as url:
            Migrator(url).migrate()
            yield url


def test_violations_have_their_own_errors(german: str) -> None:
    with Database(german) as db:
        owner = new_owner(db)
        db.users.create("one@example.org")
        with pytest.raises(EmailTaken):
            db.users.create("One@example.org")
        with pytest.raises(WalletTaken):
            db.wallets.create(owner.wallet_address, owner.agent_id, "live")
        with pytest.raises(ForeignKeyViolation):
            db.agents.create(uuid4(), "an agent")
        db.trades.deposit(owner.deposit("1"))
        with pytest.raises(ReadOnlyBlock), db.transaction(read_only=True) as tx:
            tx.users.create("two@example.org")
        with pytest.raises(LedgerProtected), db.transaction() as tx:
            tx._plain_session._connection.execute("UPDATE agent_transactions SET fees = 1")


def test_conflicts_and_lost_sessions_are_known(german: str) -> None:
    with Database(german) as db, psycopg.connect(german) as other:
        owner = new_owner(db)
        other.execute("SELECT FROM users WHERE id = %s FOR UPDATE", [owner.user_id])
        with pytest.raises(LockTimeout), db.transaction(lock_timeout_s=0.05) as tx:
            tx.users.update(owner.user_id, email="new@example.org")
        other.rollback()
        with pytest.raises(TransactionConflict), db.transaction(isolation="serializable") as tx:
            tx.users.find_by_id(owner.user_id)
            other.execute("UPDATE users SET failed_login_attempts = 1 WHERE id = %s", [owner.user_id])
            other.commit()
            tx.users.update(owner.user_id, email="new@example.org")
        with pytest.raises(ConnectionLost), db.transaction() as tx:
            pid = tx._plain_session._connection.info.backend_pid
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            tx.users.find_by_id(owner.user_id)


ASLEEP = "SELECT pg_sleep(5) IS NULL AS slept"


def test_statement_that_ran_until_its_limit_is_timeout(german: str) -> None:
    """A timeout and a cancellation are both SQLSTATE 57014, and differ in a text of the server's language alone."""
    said = "Zeitüberschreitung"
    with Database(replace(Settings.from_url(german, {}), statement_timeout_s=0.3)) as db:
        for reader in (db, db.replica):
            with pytest.raises(StatementTimeout, match=said) as caught:
                reader.execute(ASLEEP)
            assert caught.value.sqlstate == "57014"
        for pipeline in (False, True):
            with pytest.raises(StatementTimeout, match=said), db.transaction(pipeline=pipeline) as tx:
                tx.execute(ASLEEP)
    with Database(german) as db:
        for pipeline in (False, True):
            with (
                pytest.raises(StatementTimeout, match=said),
                db.transaction(pipeline=pipeline, statement_timeout_s=0.2) as tx,
            ):
                tx.execute(ASLEEP)


def test_statement_that_is_canceled_before_its_limit_is_no_timeout(german: str) -> None:
    with Database(german) as db, psycopg.connect(german, autocommit=True) as other:

        def cancel() -> None:
            while (
                other.execute(
                    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                    " WHERE query LIKE '%pg_sleep(5)%' AND state = 'active' AND pid <> pg_backend_pid()"
                ).fetchone()
                is None
            ):
                time.sleep(0.01)

        for begin in (nullcontext, db.transaction):
            canceling = threading.Thread(target=cancel)
            canceling.start()
            with pytest.raises(StatementCanceled, match="Benutzer") as canceled, begin() as tx:
                (tx or db).execute(ASLEEP)
            assert type(canceled.value) is StatementCanceled
            canceling.join()


def test_too_many_connections_are_unavailable(german: str) -> None:
    """While libpq connects, there is no SQLSTATE: which limit was reached stands in the server's words alone."""
    with psycopg.connect(german, autocommit=True) as connection:
        connection.execute("CREATE ROLE crowd LOGIN CONNECTION LIMIT 1")
        try:
            with psycopg.connect(make_conninfo(german, user="crowd")):
                with pytest.raises(DatabaseUnavailable, match="zu viele Verbindungen") as refused:
                    Database(make_conninfo(german, user="crowd")).open()
                assert type(refused.value) is DatabaseUnavailable
                with pytest.raises(DatabaseUnavailable, match="zu viele Verbindungen"):
                    Migrator(make_conninfo(german, user="crowd")).status()
        finally:
            connection.execute("DROP ROLE crowd")


def test_failures_to_connect_are_unavailable(german: str) -> None:
    """libpq has no SQLSTATE then, and the server names a missing role or database in its own words."""
    for wrong in ({"user": "nobody_here"}, {"dbname": "nothing_here"}):
        with pytest.raises(DatabaseUnavailable, match="existiert nicht"):
            Database(make_conninfo(german, **wrong)).open()
        with pytest.raises(DatabaseUnavailable, match="cannot connect as .* existiert nicht"):
            Migrator(make_conninfo(german, **wrong)).status()


def test_missing_password_is_authentication_failure(german: str) -> None:
    directory = Path(str(psycopg.conninfo.conninfo_to_dict(german)["host"])).parent
    rules = directory / "data" / "pg_hba.conf"
    before = rules.read_text()
    with psycopg.connect(german, autocommit=True) as connection:
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'secret'")
        try:
            rules.write_text("local all guarded scram-sha-256\n" + before)
            connection.execute("SELECT pg_reload_conf()")
            refused: Exception | None = None
            for _ in range(100):
                try:
                    Database(make_conninfo(german, user="guarded")).open()
                except DatabaseUnavailable as error:
                    refused = error
                    break
            assert isinstance(refused, AuthenticationFailed), refused
        finally:
            rules.write_text(before)
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("DROP ROLE guarded")


def test_migration_errors_are_known(german: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE german_a (n int);", "DROP TABLE german_a;")
    with psycopg.connect(german, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA cell")
        cell = make_conninfo(german, options="-csearch_path=cell")
        Migrator(cell, folder).migrate()
        write("0002_b", "ALTER TABLE german_a ADD m int;")
        with psycopg.connect(cell) as other:
            other.execute("LOCK TABLE german_a")
            with pytest.raises(MigrationLocked):
                Migrator(cell, folder, lock_timeout_s=0.05, attempts=1).migrate()
        Migrator(cell, folder).migrate()
        write("0003_c", "CREATE INDEX CONCURRENTLY i ON german_a (n);\nSELECT 1;")
        with pytest.raises(MigrationError, match=r"0003_c\.sql:1: .*declare '-- transactional: false'"):
            Migrator(cell, folder).migrate()
        connection.execute("DROP SCHEMA cell CASCADE")


def test_missing_function_names_its_migration(german: str) -> None:
    with psycopg.connect(german, autocommit=True) as connection, Database(german) as db:
        owner = new_owner(db)
        connection.execute(sql.SQL("ALTER FUNCTION trade_write_off_v1 RENAME TO elsewhere"))
        try:
            with pytest.raises(SchemaNotReady, match=r"apply migration [0-9]+_trade_write_off"):
                db.trades.write_off(owner.write_off())
        finally:
            connection.execute(sql.SQL("ALTER FUNCTION elsewhere RENAME TO trade_write_off_v1"))


def test_two_migrators_wait_for_each_other(german: str, write: Write, folder: Path) -> None:
    write("0001_a", "SELECT pg_sleep(0.5);")
    with psycopg.connect(german, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA cell")
    cell = make_conninfo(german, options="-csearch_path=cell")
    first = threading.Thread(target=Migrator(cell, folder).migrate)
    first.start()
    assert Migrator(cell, folder).migrate() in (["0001_a"], [])
    first.join()
    assert Migrator(cell, folder).pending() == []
