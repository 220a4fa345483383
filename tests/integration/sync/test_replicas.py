# Generated from tests/integration/aio/test_replicas.py by `make sync`: do not edit.
"""Reads on two streaming standbys: never older than what was written or read, left out when unfit, never a write."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Final
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import (
    BlockMisuse,
    ConfigurationError,
    DatabaseError,
    InvalidInput,
    ReadOnlyBlock,
    SchemaNotReady,
    TenantNotIsolated,
)
from nexgent_db.settings import Settings
from nexgent_db.sync.access import Repositories
from tests.integration.sync.factories import TOKEN, Owner, funded_owner, new_owner
from tests.integration.sync.test_tenants import METHODS, User, new_user
from tests.support.faults.distant_proxy import distant
from tests.support.servers.postgres_server import PostgresServer, postgres_server
from tests.support.servers.roles import RoledDatabase
from tests.support.servers.standby import (
    applying_nothing,
    frozen,
    promote,
    replicated,
    standby_of,
    wait_until_replayed,
)
from tests.unit.test_reading_queries import BOUND, only_reads_by_name

Servers = tuple[PostgresServer, PostgresServer, PostgresServer]
WITHIN_S: Final = 10.0
DELAY_S: Final = 0.05
_UNTIL_PREPARED: Final = 4


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """A primary and two standbys, which the module's tests leave as they found them."""
    with replicated() as running:
        yield running


def settings_of(servers: Servers, wait_s: float = 0.3) -> Settings:
    urls = [standby.url for standby in servers[1:]]
    return replace(Settings.from_url(servers[0].url, {}, replica_urls=urls), replica_wait_s=wait_s)


@pytest.fixture
def db(servers: Servers) -> Iterator[Database]:
    with Database(settings_of(servers)) as database:
        yield database


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "not within 10 s"
        time.sleep(0.01)


def states(db: Database) -> list[str]:
    return [replica.state for replica in db.replica.metrics().replicas]


def name_of(reader: Repositories, owner: Owner) -> str:
    found = reader.agents.find_by_id(owner.agent_id)
    assert found is not None
    return found.agent.name


# --- Never older ----------------------------------------------------------------------------------


def test_replicas_answer_and_show_what_was_written(db: Database) -> None:
    owner = new_owner(db)
    for number in range(50):
        db.agents.update(owner.agent_id, name=f"agent {number}")
        assert name_of(db.replica, owner) == f"agent {number}"
    metrics = db.replica.metrics()
    assert metrics.replica_reads >= 48
    assert metrics.replica_reads + metrics.primary_reads == 50
    assert sum(replica.reads for replica in metrics.replicas) == metrics.replica_reads


def test_write_in_transaction_is_shown(db: Database) -> None:
    owner = new_owner(db)
    for number in range(20):
        with db.transaction() as tx:
            tx.agents.update(owner.agent_id, name=f"agent {number}")
        assert name_of(db.replica, owner) == f"agent {number}"
    assert not db._replicas.mark.unknown
    assert db.replica.metrics().replica_reads >= 18


def test_read_in_rolled_back_transaction_is_not_undercut(db: Database, servers: Servers) -> None:
    owner = new_owner(db)
    with applying_nothing(servers[1]), applying_nothing(servers[2]):
        with psycopg.connect(servers[0].url) as connection:  # another process
            connection.execute("UPDATE agents SET name = 'new' WHERE id = %s", [owner.agent_id])
        with pytest.raises(ZeroDivisionError), db.transaction() as tx:
            assert name_of(tx, owner) == "new"
            raise ZeroDivisionError
        assert name_of(db.replica, owner) == "new"


def test_read_of_primary_is_not_undercut(db: Database, servers: Servers) -> None:
    owner = new_owner(db)
    with applying_nothing(servers[1]), applying_nothing(servers[2]):
        with psycopg.connect(servers[0].url) as connection:  # another process
            connection.execute("UPDATE agents SET name = 'new' WHERE id = %s", [owner.agent_id])
        assert name_of(db, owner) == "new"
        assert name_of(db.replica, owner) == "new"


def test_primary_answers_when_no_replica_is_up_to_date(db: Database, servers: Servers) -> None:
    owner = new_owner(db)
    db.replica.agents.find_by_id(owner.agent_id)
    before = db.replica.metrics()
    with applying_nothing(servers[1]), applying_nothing(servers[2]):
        db.agents.update(owner.agent_id, name="late")
        for _ in range(10):
            assert name_of(db.replica, owner) == "late"
        after = db.replica.metrics()
        assert after.behind - before.behind == 10
        assert "lagging" in states(db)
        assert [replica.behind_bytes for replica in after.replicas if (replica.behind_bytes or 0) > 0]
    eventually(lambda: states(db) == ["ok", "ok"])
    db.replica.agents.find_by_id(owner.agent_id)
    assert db.replica.metrics().replica_reads == before.replica_reads + 1


def test_wait_is_bounded_and_only_first_reads_wait(db: Database, servers: Servers) -> None:
    owner = new_owner(db)
    with applying_nothing(servers[1]), applying_nothing(servers[2]):
        db.agents.update(owner.agent_id, name="late")
        durations = []
        for _ in range(5):
            started = time.monotonic()
            db.replica.agents.find_by_id(owner.agent_id)
            durations.append(time.monotonic() - started)
    assert all(duration < 1.5 for duration in durations[:2])
    assert all(duration < 0.3 for duration in durations[2:])  # each replica was waited for once


def test_replica_that_is_up_to_date_answers_beside_one_that_lags(db: Database, servers: Servers) -> None:
    owner = new_owner(db)
    with applying_nothing(servers[1]):
        for number in range(20):
            db.agents.update(owner.agent_id, name=f"agent {number}")
            assert name_of(db.replica, owner) == f"agent {number}"
        assert states(db) == ["lagging", "ok"]
        assert db.replica.metrics().primary_reads <= 2
    eventually(lambda: states(db) == ["ok", "ok"])


def test_token_of_another_process_is_waited_for(db: Database, servers: Servers) -> None:
    owner = new_owner(db)
    with Database(settings_of(servers)) as other, applying_nothing(servers[1]), applying_nothing(servers[2]):
        db.agents.update(owner.agent_id, name="by another process")
        token = db.wal_position()
        reader = other.reads(at_least=token)
        assert name_of(reader, owner) == "by another process"
        assert other.replica.metrics().behind == 1
    assert token == db.replica.position


def test_version_of_another_process_is_waited_for(db: Database, servers: Servers) -> None:
    """Its row may have come from the cache, which knows no position."""
    owner = new_owner(db)
    with Database(settings_of(servers)) as other:
        with applying_nothing(servers[1]), applying_nothing(servers[2]):
            written = db.agents.update(owner.agent_id, name="by another process")
            assert written is not None
            reader = other.reads(at_least=written.version)
            onward = other.reads(at_least=reader.position)  # a token from before the first read
            assert name_of(reader, owner) == "by another process"
            assert name_of(onward, owner) == "by another process"
            assert other.replica.metrics().replica_reads == 0
        eventually(lambda: states(other) == ["ok", "ok"])
        with other.reads(at_least=written.version).transaction() as tx:
            assert name_of(tx, owner) == "by another process"
        assert other.replica.metrics().replica_reads == 1


def test_versions_are_committed_in_another_order_than_given(db: Database, servers: Servers) -> None:
    """So no list of versions and positions would do: the position of the later version lacks the earlier one."""
    early, late = funded_owner(db), funded_owner(db)
    with db.transaction() as tx:
        lower = tx.trades.deposit(early.deposit("1")).balances[0].version
        with Database(servers[0].url) as other:
            higher = other.trades.deposit(late.deposit("1")).balances[0].version
            position = other.wal_position()
    assert lower < higher
    assert position < db.wal_position()
    (balance,) = db.reads(at_least=lower).balances.list_by_wallet(early.agent_id, early.wallet_address)
    assert balance.version == lower


def test_token_does_not_wait_for_other_writes(db: Database, servers: Servers) -> None:
    owner = new_owner(db)
    token = db.wal_position()
    db.replica.agents.find_by_id(owner.agent_id)
    wait_until_replayed(servers[0], servers[1])
    wait_until_replayed(servers[0], servers[2])
    with applying_nothing(servers[1]), applying_nothing(servers[2]):
        db.agents.update(owner.agent_id, name="newer")
        before = db.replica.metrics()
        reader = db.reads(at_least=token)
        assert name_of(reader, owner) == "tester"
        assert db.replica.metrics().replica_reads == before.replica_reads + 1
        assert name_of(db.replica, owner) == "newer"


def test_reader_is_never_older_than_what_it_has_read(db: Database, servers: Servers) -> None:
    owner = new_owner(db)
    reader = db.reads(at_least=db.wal_position())
    second = Database(replace(settings_of(servers), replica_conninfos=(servers[2].url,)))
    with applying_nothing(servers[1]), second:
        db.agents.update(owner.agent_id, name="new")
        token = second.reads(at_least=db.wal_position())
        assert name_of(token, owner) == "new"
        reader = db.reads(at_least=token.position)
        for _ in range(5):
            assert name_of(reader, owner) == "new"


def test_statement_that_was_skipped_while_it_was_prepared_runs_later(servers: Servers) -> None:
    """The third execution prepares it: after a gate that failed, the server does not know it."""
    one = replace(settings_of(servers, 0.01), replica_conninfos=(servers[1].url,), pool_max_size=1)
    with Database(one) as db:
        owner = new_owner(db)
        wait_until_replayed(servers[0], servers[1])
        assert [name_of(db.replica, owner) for _ in range(2)] == ["tester"] * 2
        for number in range(3):
            with applying_nothing(servers[1]):
                db.agents.update(owner.agent_id, name=f"agent {number}")
                assert name_of(db.replica, owner) == f"agent {number}"
            eventually(lambda: states(db) == ["ok"])
            assert name_of(db.replica, owner) == f"agent {number}"
        metrics = db.replica.metrics()
        assert (metrics.replica_reads, metrics.behind) == (5, 3)


@pytest.mark.parametrize(
    "text", ["", "1", "1.", "1.zz", "1.0/30", "-1.30", "1.30 ", "1.30\n", "9" * 30, "1." + "f" * 17]
)
def test_malformed_token_is_refused(db: Database, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        db.reads(at_least=text)
    assert caught.value.field == "at_least"


@pytest.mark.parametrize("version", [0, -1, 2**63, True])
def test_impossible_version_is_refused(db: Database, version: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        db.reads(at_least=version)
    assert caught.value.field == "at_least"


def test_position_without_replicas_asks_the_primary(servers: Servers, db: Database) -> None:
    with Database(servers[0].url) as plain:
        owner = new_owner(plain)
        reader = db.reads(at_least=plain.wal_position())
        assert reader.agents.find_by_id(owner.agent_id) is not None
        assert plain.replica.agents.find_by_id(owner.agent_id) is not None
        assert plain.replica.metrics().unavailable == 1
        with pytest.raises(ReadOnlyBlock):
            plain.replica.agents.delete(owner.agent_id)


def test_read_and_write_are_one_round_trip(servers: Servers, db: Database) -> None:
    owner = funded_owner(db)
    with distant(servers[0].url, DELAY_S) as primary, distant(servers[1].url, DELAY_S) as replica:
        far = Database(Settings.from_url(primary, {}, replica_urls=[replica]))

        def transact() -> None:
            with far.transaction() as tx:
                tx.agents.find_by_id(owner.agent_id)

        calls: list[tuple[Callable[[], object], int]] = [
            (lambda: far.trades.deposit(owner.deposit("1")), 1),
            (lambda: far.replica.agents.find_by_id(owner.agent_id), 1),
            (lambda: far.agents.find_by_id(owner.agent_id), 1),
            (lambda: far.reads(at_least=1).agents.find_by_id(owner.agent_id), 2),
            (transact, 3),
        ]
        with far:
            for call, trips in calls:
                for _ in range(_UNTIL_PREPARED):
                    call()
                started = time.monotonic()
                call()
                assert trips <= (time.monotonic() - started) / (2 * DELAY_S) < trips + 0.9
            assert far.replica.metrics().primary_reads == 0


# --- What is offered ------------------------------------------------------------------------------


def test_lists_pages_reports_and_streams_are_of_replicas(db: Database) -> None:
    owner = funded_owner(db)
    for number in range(5):
        db.trades.buy(owner.buy("1", "10", f"{TOKEN[:-1]}{number}"))
    before = db.replica.metrics()
    replica = db.replica
    assert len(replica.positions.list_by_agent(owner.agent_id)) == 5
    page = replica.transactions.page_by_agent(owner.agent_id, limit=4)
    assert len(page.items) == 4
    rest = replica.transactions.page_by_agent(owner.agent_id, limit=4, cursor=page.next)
    assert len(rest.items) == 2
    assert replica.performance.summarise(owner.agent_id).open_positions == 5
    assert [row.agent_id for row in replica.transactions.stream_by_agent(owner.agent_id)] == [owner.agent_id] * 6
    assert replica.execute("SELECT count(*) AS n FROM agents WHERE id = :id", {"id": owner.agent_id}).rows == [{"n": 1}]
    after = db.replica.metrics()
    assert after.replica_reads - before.replica_reads == 6
    assert after.primary_reads == before.primary_reads


def test_stream_that_ends_early_keeps_no_connection(db: Database) -> None:
    owner = funded_owner(db)
    for _ in range(30):
        with closing(db.replica.transactions.stream_by_agent(owner.agent_id)) as stream:  # type: ignore[type-var]
            for _row in stream:
                break
    assert db.replica.metrics().primary_reads <= 1


def test_transaction_has_one_snapshot(db: Database) -> None:
    owner = new_owner(db)
    with db.replica.transaction(statement_timeout_s=5) as tx:
        assert name_of(tx, owner) == "tester"
        with psycopg.connect(db.settings.conninfo) as connection:
            connection.execute("UPDATE agents SET name = 'other' WHERE id = %s", [owner.agent_id])
        time.sleep(0.2)
        assert name_of(tx, owner) == "tester"
        with pytest.raises(BlockMisuse):
            db.replica.agents.find_by_id(owner.agent_id)
    with pytest.raises(BlockMisuse):
        tx.agents.find_by_id(owner.agent_id)


def test_error_of_query_is_raised_and_connection_stays(db: Database) -> None:
    for _ in range(30):
        with pytest.raises(DatabaseError) as caught:
            db.replica.execute("SELECT 1 / :number AS n", {"number": 0})
        assert caught.value.sqlstate == "22012"
        with pytest.raises(InvalidInput):
            db.replica.execute("SELECT :text::integer AS n", {"text": "behind 1"})
        with pytest.raises(InvalidInput):
            db.replica.execute("SELECT :text::text AS n", {"text": "\ud800"})
    assert [(each.state, each.left_out) for each in db.replica.metrics().replicas] == [("ok", 0)] * 2


def test_every_reading_query_runs_on_a_standby(servers: Servers) -> None:
    """With NULL for each parameter; the ones that write or lock are named in tests/unit/test_reading_queries.py."""
    number = 0
    with psycopg.connect(servers[1].url, autocommit=True) as connection:
        for bound in BOUND.values():
            if only_reads_by_name(bound.name):
                for statement in bound.query.variants():
                    psycopg.RawCursor(connection).execute(
                        statement.text.encode(), [None] * len(statement.parameters)
                    ).fetchall()
                    number += 1
    assert number > 60


READING: Final = re.compile(r"(find|list|page|stream|count|total|summarise|is|load)(_|$)")
"""The verbs of methods that read; every other one changes or locks rows."""


def answer_of(reader: Repositories, method: tuple[str, str], user: User) -> object:
    called = getattr(getattr(reader, method[0]), method[1])(*METHODS[method](user))
    return [row for row in called] if method[1].startswith("stream_") else called


def test_every_method_that_reads_is_of_replicas_and_no_other_is(servers: Servers) -> None:
    with Database(settings_of(servers, wait_s=WITHIN_S)) as db:
        user = new_user(db)
        for method in METHODS:
            before = db.replica.metrics()
            if READING.match(method[1]):
                assert answer_of(db.replica, method, user) == answer_of(db, method, user), method
            else:
                with pytest.raises(ReadOnlyBlock):
                    answer_of(db.replica, method, user)
            after = db.replica.metrics()
            assert after.primary_reads == before.primary_reads, method
            assert (after.replica_reads > before.replica_reads) == bool(READING.match(method[1])), method
    assert sum(1 for _, name in METHODS if READING.match(name)) > 55
    assert sum(1 for _, name in METHODS if not READING.match(name)) > 40


# --- Never a write --------------------------------------------------------------------------------


def test_writes_are_refused_before_anything_is_sent(db: Database) -> None:
    owner = funded_owner(db)
    before = db.replica.metrics()
    calls: list[Callable[[], object]] = [
        lambda: db.replica.trades.buy(owner.buy("1", "10")),
        lambda: db.replica.trades.execute_many([owner.deposit("1"), owner.deposit("2")], atomic=True),
        lambda: db.replica.agents.update(owner.agent_id, name="x"),
        lambda: db.replica.agents.update_config(owner.agent_id, {}),
        lambda: db.replica.agents.lock_config(owner.agent_id),
        lambda: db.replica.agents.delete(owner.agent_id),
        lambda: db.replica.wallets.change_address(owner.agent_id, owner.wallet_address, "W"),
        lambda: db.replica.execute("DELETE FROM agents"),
        lambda: db.replica.execute("SELECT id FROM agents FOR SHARE"),
        lambda: db.replica.execute("WITH x AS (INSERT INTO users DEFAULT VALUES RETURNING id) SELECT id FROM x"),
    ]
    for call in calls:
        with pytest.raises(ReadOnlyBlock):
            call()
    after = db.replica.metrics()
    assert (after.replica_reads, after.primary_reads) == (before.replica_reads, before.primary_reads)


def test_function_that_writes_is_refused_by_every_server(db: Database, servers: Servers) -> None:
    owner = new_owner(db)
    with psycopg.connect(servers[0].url, autocommit=True) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION rename_all() RETURNS integer LANGUAGE sql"
            " AS $$ UPDATE agents SET name = 'renamed'; SELECT 1 $$"
        )
    with pytest.raises(ReadOnlyBlock):
        db.replica.execute("SELECT rename_all() AS n")
    with pytest.raises(ReadOnlyBlock), db.replica.transaction() as tx:
        tx.agents.update(owner.agent_id, name="x")
    eventually(lambda: states(db) == ["ok", "ok"])
    with applying_nothing(servers[1]), applying_nothing(servers[2]):
        db.agents.update(owner.agent_id, name="kept")
        with pytest.raises(ReadOnlyBlock):
            db.replica.execute("SELECT rename_all() AS n")
        with pytest.raises(ReadOnlyBlock), db.replica.transaction() as tx:
            tx.agents.update(owner.agent_id, name="x")
    assert name_of(db, owner) == "kept"


# --- The cache and tenants ------------------------------------------------------------------------


def test_cache_is_not_filled_from_replicas(servers: Servers, redis_url: str) -> None:
    prefix = f"replicas-{uuid4().hex}:"
    cached = replace(settings_of(servers), redis_url=redis_url, cache_prefix=prefix)
    with Database(cached) as db:
        owner = funded_owner(db)
        with applying_nothing(servers[1]), applying_nothing(servers[2]):
            bought = db.trades.buy(owner.buy("1", "10")).position
            assert bought is not None
            db.cache.admin.reset()
            before = db.replica.metrics()
            assert db.cache.position(bought.id) == bought
            assert db.replica.positions.find_by_id(bought.id) == bought
            token = "1.0"
            assert db.reads(at_least=token).positions.find_by_id(bought.id) is None  # of a replica
            assert db.cache.positions_of_agent(owner.agent_id) == [bought]
            assert db.cache.position(bought.id) == bought
            assert db.replica.metrics().replica_reads == before.replica_reads + 1
        db.cache.admin.reset()


def test_tenant_sees_its_own_rows_on_replicas(servers: Servers) -> None:
    roled = RoledDatabase(servers[0].url, "replicated")
    roled.apply()
    for standby in servers[1:]:
        wait_until_replayed(servers[0], standby)
    with Database(servers[0].url) as admin:
        mine, others = funded_owner(admin), funded_owner(admin)
    urls = [RoledDatabase(standby.url, "replicated").url_of("app") for standby in servers[1:]]
    settings = Settings.from_url(roled.url_of("app"), {})
    with Database(replace(settings, replica_conninfos=tuple(urls), replica_wait_s=2.0)) as db:
        tenant = db.for_tenant(mine.user_id)
        assert db.replica.agents.find_by_id(others.agent_id) is not None
        for _ in range(4):
            assert tenant.replica.agents.find_by_id(mine.agent_id) is not None
            assert tenant.replica.agents.find_by_id(others.agent_id) is None
            assert [each.agent.id for each in tenant.replica.agents.stream_all()] == [mine.agent_id]
            with tenant.replica.transaction() as tx:
                assert tx.agents.find_by_id(others.agent_id) is None
        assert db.replica.metrics().primary_reads == 0
        with applying_nothing(servers[1]), applying_nothing(servers[2]):
            tenant.agents.update(mine.agent_id, name="by the tenant")
            assert tenant.replica.agents.find_by_id(others.agent_id) is None
            assert name_of(tenant.replica, mine) == "by the tenant"
            assert db.replica.metrics().primary_reads == 2
    with Database(settings_of(servers)) as superuser, pytest.raises(TenantNotIsolated):
        superuser.for_tenant(mine.user_id).replica.agents.find_by_id(mine.agent_id)


# --- Bad URLs -------------------------------------------------------------------------------------


@contextmanager
def opened(primary: str, replica: str) -> Iterator[Database]:
    with Database(primary, replica_urls=[replica]) as database:
        yield database


def fails_to_open(primary: str, replica: str) -> str:
    with pytest.raises((ConfigurationError, SchemaNotReady)) as caught, opened(primary, replica):
        pass
    return f"{type(caught.value).__name__}: {caught.value}"


def sessions(server: PostgresServer) -> int:
    with psycopg.connect(server.url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nexgent-db' AND state IS NOT NULL"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_primary_as_replica_is_refused(servers: Servers) -> None:
    said = fails_to_open(servers[0].url, servers[0].url)
    assert said.startswith("ConfigurationError: the replica ")
    assert said.endswith("is the primary itself: leave it out of DATABASE_REPLICA_URLS")
    eventually(lambda: sessions(servers[0]) == 0)


def test_replica_of_another_cluster_is_refused(servers: Servers, server_url: str) -> None:
    said = fails_to_open(servers[0].url, server_url)
    assert "is of another cluster: its system identifier is " in said


def test_another_database_of_the_cluster_is_refused(servers: Servers) -> None:
    said = fails_to_open(servers[0].url, servers[1].url.replace("/postgres?", "/template1?"))
    assert said.endswith("is another database: template1, the primary's is postgres")


def test_unmigrated_replica_is_refused(servers: Servers) -> None:
    said = fails_to_open(servers[0].url, f"{servers[1].url}&schema=elsewhere")
    assert said.startswith("SchemaNotReady: the replica ")
    assert "is unmigrated: it shows no migrations where the primary has them" in said
    assert sessions(servers[1]) == 0


@pytest.mark.parametrize("url", ["mysql://a/b", "postgresql://u:sec@ret@h/d", "postgresql://h:port/d"])
def test_malformed_replica_url_is_refused_without_its_text(servers: Servers, url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL 2 of DATABASE_REPLICA_URLS") as caught:
        Database(servers[0].url, replica_urls=[servers[1].url, url])
    assert "sec" not in str(caught.value)


# --- Replicas that come and go --------------------------------------------------------------------


@contextmanager
def own_servers() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    with postgres_server() as primary, standby_of(primary, slot="own") as standby:
        yield primary, standby


def test_replica_that_is_gone_at_the_start_comes_back() -> None:
    with own_servers() as (primary, standby):
        standby.stop()
        with Database(primary.url, replica_urls=[standby.url]) as db:
            assert states(db) == ["gone"]
            owner = new_owner(db)
            assert db.replica.agents.find_by_id(owner.agent_id) is not None
            assert db.replica.metrics().unavailable == 1
            standby.start()
            eventually(lambda: states(db) == ["ok"])
            assert db.replica.agents.find_by_id(owner.agent_id) is not None
            assert db.replica.metrics().replica_reads == 1


def test_killed_and_frozen_replicas_are_left_out_and_come_back() -> None:
    with own_servers() as (primary, standby), Database(primary.url, replica_urls=[standby.url]) as db:
        owner = new_owner(db)
        db.replica.agents.find_by_id(owner.agent_id)
        standby.kill()
        for _ in range(5):
            assert db.replica.agents.find_by_id(owner.agent_id) is not None
        assert states(db) == ["gone"]
        standby.start()
        eventually(lambda: states(db) == ["ok"])
        db.replica.agents.find_by_id(owner.agent_id)
        with frozen(standby):
            started = time.monotonic()
            for _ in range(5):
                assert db.replica.agents.find_by_id(owner.agent_id) is not None
            assert time.monotonic() - started < 3
            assert states(db) == ["gone"]
            health = db.health()
            assert health.ok
            assert [replica.state for replica in health.replicas] == ["gone"]
            assert health.replicas[0].problem is not None
            assert health.replicas[0].left_out == 2
        eventually(lambda: states(db) == ["ok"])


def test_promoted_replica_is_left_out_and_gets_no_write() -> None:
    with own_servers() as (primary, standby):
        with Database(primary.url, replica_urls=[standby.url]) as db:
            owner = new_owner(db)
            db.replica.agents.find_by_id(owner.agent_id)
            promote(standby)
            with psycopg.connect(standby.url, autocommit=True) as connection:
                connection.execute("UPDATE agents SET name = 'of another history'")
            for _ in range(20):
                assert name_of(db.replica, owner) == "tester"
            with pytest.raises(ReadOnlyBlock):
                db.replica.execute("SELECT id FROM agents FOR UPDATE")
            eventually(lambda: states(db) == ["promoted"])
        with Database(primary.url, replica_urls=[standby.url]) as again:  # a start after the promotion
            assert states(again) == ["promoted"]
            assert name_of(again.replica, owner) == "tester"


@pytest.mark.parametrize("waiting_for", ["all that was read", "a version"])
def test_primary_is_not_behind_what_a_replica_has_shown(waiting_for: str) -> None:
    """With synchronous replication a commit waits for its standbys: one that is quick shows it before the primary."""
    with replicated() as (primary, quick, slow):
        settings = replace(Settings.from_url(primary.url, {}, replica_urls=[quick.url]), replica_wait_s=5.0)
        with Database(settings) as db:
            owner = new_owner(db)
            primary.configure(synchronous_standby_names="ANY 2 (*)")
            with frozen(slow), closing(psycopg.connect(primary.url, autocommit=True)) as connection:
                connection.pgconn.send_query(f"UPDATE agents SET name = 'new' WHERE id = '{owner.agent_id}'".encode())
                deadline = time.monotonic() + WITHIN_S
                while name_of(db.replica, owner) != "new":
                    assert time.monotonic() < deadline
                assert name_of(db, owner) == "tester"
                found = db.replica.agents.find_by_id(owner.agent_id)
                assert found is not None
                quick.kill()
                release = threading.Timer(0.5, primary.configure, kwargs={"synchronous_standby_names": ""})
                release.start()
                started = time.monotonic()
                reads = db.reads(at_least=db.replica.position)
                waiting = db.replica if waiting_for == "all that was read" else db.reads(at_least=found.agent.version)
                assert name_of(waiting, owner) == "new"
                assert time.monotonic() - started > 0.3
                assert name_of(reads, owner) == "new"
                release.join()
            assert db.replica.metrics().unavailable == 2


def test_replicas_answer_while_the_primary_is_gone() -> None:
    with own_servers() as (primary, standby), Database(primary.url, replica_urls=[standby.url]) as db:
        owner = new_owner(db)
        db.replica.agents.find_by_id(owner.agent_id)
        primary.kill()
        for _ in range(20):
            assert db.replica.agents.find_by_id(owner.agent_id) is not None
        assert db.replica.metrics().replica_reads == 21


def test_replica_of_an_earlier_timeline_does_not_answer() -> None:
    """After a failover, a standby that still follows the old primary may be further in the log, of another history."""
    with own_servers() as (primary, first), standby_of(primary, slot="second") as second:
        with Database(primary.url) as old:
            owner = new_owner(old)
        wait_until_replayed(primary, first)
        promote(first)  # the new primary; the second one follows the old
        with psycopg.connect(primary.url, autocommit=True) as connection:
            for _ in range(100):
                connection.execute("UPDATE agents SET name = 'of the old primary'")
        wait_until_replayed(primary, second)
        with Database(first.url, replica_urls=[second.url]) as db:
            db.agents.update(owner.agent_id, name="of the new primary")
            for _ in range(5):
                assert name_of(db.replica, owner) == "of the new primary"
            (found,) = db.replica.metrics().replicas
            assert found.state == "lagging"
            assert found.problem == "it follows timeline 1, the primary is on 2"
