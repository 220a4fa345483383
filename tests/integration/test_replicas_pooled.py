"""Replicas behind PgBouncer in transaction mode: tests of tests/integration/aio/test_replicas.py, with a pooler before
each server. A gate, a transaction and the position after it may then be of three sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest

from nexgent_db import AsyncDatabase
from tests.integration.aio.factories import new_owner
from tests.integration.aio.test_replicas import (
    Servers,
    db,
    eventually,
    fails_to_open,
    name_of,
    servers,
    settings_of,
    states,
    test_error_of_query_is_raised_and_connection_stays,
    test_function_that_writes_is_refused_by_every_server,
    test_lists_pages_reports_and_streams_are_of_replicas,
    test_primary_answers_when_no_replica_is_up_to_date,
    test_read_in_rolled_back_transaction_is_not_undercut,
    test_read_of_primary_is_not_undercut,
    test_reader_is_never_older_than_what_it_has_read,
    test_replica_of_another_cluster_is_refused,
    test_replica_that_is_up_to_date_answers_beside_one_that_lags,
    test_replicas_answer_and_show_what_was_written,
    test_statement_that_was_skipped_while_it_was_prepared_runs_later,
    test_token_does_not_wait_for_other_writes,
    test_token_of_another_process_is_waited_for,
    test_transaction_has_one_snapshot,
    test_version_of_another_process_is_waited_for,
    test_wait_is_bounded_and_only_first_reads_wait,
    test_write_in_transaction_is_shown,
    test_writes_are_refused_before_anything_is_sent,
)
from tests.support.servers.pgbouncer import pgbouncer, pgbouncer_program, pools_go_through

__all__ = [
    "db",
    "servers",
    "test_error_of_query_is_raised_and_connection_stays",
    "test_function_that_writes_is_refused_by_every_server",
    "test_lists_pages_reports_and_streams_are_of_replicas",
    "test_primary_answers_when_no_replica_is_up_to_date",
    "test_read_in_rolled_back_transaction_is_not_undercut",
    "test_read_of_primary_is_not_undercut",
    "test_reader_is_never_older_than_what_it_has_read",
    "test_replica_of_another_cluster_is_refused",
    "test_replica_that_is_up_to_date_answers_beside_one_that_lags",
    "test_replicas_answer_and_show_what_was_written",
    "test_statement_that_was_skipped_while_it_was_prepared_runs_later",
    "test_token_does_not_wait_for_other_writes",
    "test_token_of_another_process_is_waited_for",
    "test_transaction_has_one_snapshot",
    "test_version_of_another_process_is_waited_for",
    "test_wait_is_bounded_and_only_first_reads_wait",
    "test_write_in_transaction_is_shown",
    "test_writes_are_refused_before_anything_is_sent",
]

pytestmark = pytest.mark.skipif(pgbouncer_program() is None, reason="no PgBouncer: apt-get install pgbouncer")


@pytest.fixture(scope="module", autouse=True)
def poolers(servers: Servers) -> Iterator[None]:
    """Every pool goes through them; what tests do to the servers goes straight there."""
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(pools_go_through(server.url))
        yield


async def test_primary_as_replica_is_refused(servers: Servers) -> None:
    said = await fails_to_open(servers[0].url, servers[0].url)
    assert said.endswith("is the primary itself: leave it out of DATABASE_REPLICA_URLS")


async def test_unmigrated_replica_is_refused(servers: Servers) -> None:
    """Migrations are looked for in the schema of the URL, which no session behind a pooler keeps."""
    said = await fails_to_open(servers[0].url, f"{servers[1].url}&schema=elsewhere")
    assert "is unmigrated: it shows no migrations where the primary has them" in said


async def test_sessions_of_replica_are_shared_by_callers(servers: Servers, db: AsyncDatabase) -> None:
    """What the gate sets is local to its transaction: a session that it leaves may serve a program that writes."""
    owner = await new_owner(db)
    for _ in range(5):
        await name_of(db.replica, owner)
    for server in servers:
        with psycopg.connect(server.url) as connection:
            rows = connection.execute(
                "SELECT current_setting('default_transaction_read_only'), count(*) FROM pg_stat_activity"
                " WHERE application_name = 'nexgent-db' AND pid <> pg_backend_pid()"
            ).fetchall()
        assert rows[0][0] == "off"
    await db.agents.update(owner.agent_id, name="written in a shared session")
    assert await name_of(db.replica, owner) == "written in a shared session"


async def test_replica_whose_pooler_is_gone_is_left_out(servers: Servers) -> None:
    with pgbouncer([servers[1].url], server_sessions=2) as (through,):
        settings = replace(settings_of(servers), replica_conninfos=(through, servers[2].url))
        async with AsyncDatabase(settings) as db:
            owner = await new_owner(db)
            assert await name_of(db.replica, owner) == "tester"
            await eventually(lambda: states(db) == ["ok", "ok"])
            with ExitStack() as stopped:
                _stop(through, stopped)
                for _ in range(20):
                    assert await name_of(db.replica, owner) == "tester"
                await eventually(lambda: states(db) == ["gone", "ok"])
            await eventually(lambda: states(db) == ["ok", "ok"])


def _stop(through: str, stack: ExitStack) -> None:
    """The pooler keeps its clients and answers none, until the stack ends."""
    console = stack.enter_context(psycopg.connect(through, dbname="pgbouncer", autocommit=True))
    cursor = psycopg.ClientCursor(console)
    cursor.execute("PAUSE")
    stack.callback(lambda: cursor.execute("RESUME"))
