"""Servers that fail in one way and recover."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from nexgent_db.embedded._lifetime import ServerAccount
from tests.support.faults.network_namespace import network_namespace
from tests.support.faults.small_disk import small_disk
from tests.support.servers.postgres_process import Cluster, PostgresProcess

_FEW_CONNECTIONS: Final = 26
_SMALL_DISK_BYTES: Final = 64 << 20
_PATIENCE_S: Final = 30.0


@dataclass(frozen=True)
class Scene:
    """``url`` is what services connect to; ``begin`` breaks it, ``end`` begins to repair it."""

    url: str
    begin: Callable[[], None]
    end: Callable[[], None]
    judge: Callable[[], psycopg.Connection[Any]]
    """A connection, past the outage, to the server that has everything in the end."""
    deserted: PostgresProcess | None = None
    """A running server where no session may be left in the end."""


def nothing() -> None:
    """What some outages need."""


@contextmanager
def running(cluster: Cluster, **options: Any) -> Iterator[PostgresProcess]:
    """A server for as long as the block."""
    server = PostgresProcess(cluster, **options)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def stopped(cluster: Cluster) -> Iterator[Scene]:
    """Shut down in order: no process listens."""
    with running(cluster) as server:
        yield Scene(server.tcp_url, lambda: server.end(signal.SIGINT), lambda: server.start(wait=False), server.connect)


@contextmanager
def restarted(cluster: Cluster) -> Iterator[Scene]:
    """Ended in the middle of everything, and started again at once, with crash recovery."""
    with running(cluster) as server:
        yield Scene(
            server.unix_url, lambda: server.end(signal.SIGQUIT), lambda: server.start(wait=False), server.connect
        )


@contextmanager
def frozen_unix(cluster: Cluster) -> Iterator[Scene]:
    """Every process of the server stops in its tracks; the kernel goes on accepting. Over a unix socket."""
    with running(cluster) as server:
        yield Scene(server.unix_url, server.freeze, server.thaw, server.connect)


@contextmanager
def frozen_tcp(cluster: Cluster) -> Iterator[Scene]:
    """The same over TCP, where the kernel goes on acknowledging."""
    with running(cluster) as server:
        yield Scene(server.tcp_url, server.freeze, server.thaw, server.connect)


@contextmanager
def frozen_at_commit(cluster: Cluster) -> Iterator[Scene]:
    """Only backends with an open block of a second pool freeze; the server goes on."""
    with running(cluster) as server:

        def begin() -> None:
            with server.connect() as connection:
                rows = connection.execute(
                    "SELECT pid FROM pg_stat_activity"
                    " WHERE application_name LIKE 'outages-%-aside' AND state = 'idle in transaction'"
                ).fetchall()
            server.freeze_only([row[0] for row in rows])

        yield Scene(server.unix_url, begin, server.thaw, server.connect)


@contextmanager
def black_hole(cluster: Cluster) -> Iterator[Scene]:
    """The network loses every packet in both directions, without an error to either side."""
    with (
        network_namespace() as namespace,
        running(cluster, address=namespace.address, run_by=namespace.run_by) as server,
    ):
        yield Scene(server.tcp_url, namespace.lose_packets, namespace.pass_packets, server.connect)


@contextmanager
def read_only(cluster: Cluster) -> Iterator[Scene]:
    """The server goes on and takes no writes."""
    with running(cluster) as server:

        def switch(state: str) -> Callable[[], None]:
            return lambda: server.set_options(default_transaction_read_only=state)

        yield Scene(server.unix_url, switch("on"), switch("off"), server.connect)


@contextmanager
def _pair(cluster: Cluster) -> Iterator[tuple[PostgresProcess, PostgresProcess, str]]:
    """A primary, its synchronous standby, and the URL of whichever takes writes."""
    options = {"hot_standby": "on", "wal_keep_size": "64MB"}
    with ExitStack() as stack:
        primary = stack.enter_context(running(cluster, options=options))
        standby = PostgresProcess(cluster, options=options)
        stack.callback(standby.remove)
        standby.follow(primary, "second")
        standby.start()
        primary.set_options(synchronous_standby_names="'second'")
        _wait_until(primary, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
        url = (
            f"postgresql://postgres@{primary.address}:{primary.port},{standby.address}:{standby.port}/postgres"
            "?target_session_attrs=read-write"
        )
        yield primary, standby, url


def _wait_until(server: PostgresProcess, question: str) -> None:
    until = time.monotonic() + _PATIENCE_S
    with server.connect() as connection:
        while True:
            row = connection.execute(question.encode()).fetchone()
            if row is not None and row[0]:
                return
            assert time.monotonic() < until, question
            time.sleep(0.02)


@contextmanager
def standby_promoted(cluster: Cluster) -> Iterator[Scene]:
    """The primary is gone for good; after a while its standby is promoted."""
    with _pair(cluster) as (primary, standby, url):
        yield Scene(url, lambda: primary.end(signal.SIGQUIT), standby.promote, standby.connect)


@contextmanager
def primary_demoted(cluster: Cluster) -> Iterator[Scene]:
    """The primary goes on for reads, and its standby takes the writes from then on."""
    with _pair(cluster) as (primary, standby, url):
        yield Scene(
            url,
            lambda: primary.set_options(default_transaction_read_only="on"),
            standby.promote,
            standby.connect,
            deserted=primary,
        )


@contextmanager
def connections_exhausted(cluster: Cluster) -> Iterator[Scene]:
    """Another client takes every connection that the server has, those of the services too."""
    few = {"max_connections": str(_FEW_CONNECTIONS), "superuser_reserved_connections": "0", "max_wal_senders": "0"}
    with running(cluster, options=few) as server, ExitStack() as taken:

        def begin() -> None:
            connection = taken.enter_context(server.connect())
            until = time.monotonic() + _PATIENCE_S
            while _end_sessions(connection):
                for _ in range(_FEW_CONNECTIONS):  # whichever comes first gets what became free
                    with suppress(psycopg.OperationalError):
                        taken.enter_context(server.connect())
                assert time.monotonic() < until, "the services keep their connections"

        yield Scene(server.unix_url, begin, taken.close, server.connect)


def _end_sessions(connection: psycopg.Connection[Any]) -> bool:
    """End those of the services; were there any?"""
    ended = connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'outages%'"
    ).fetchall()
    return bool(ended)


@contextmanager
def disk_full(cluster: Cluster) -> Iterator[Scene]:
    """No space for tables; the log of the server lies elsewhere, else it could only crash."""
    with running(cluster) as server, small_disk(_SMALL_DISK_BYTES) as disk:
        location = disk.path / "tablespace"
        location.mkdir(mode=0o700)
        if (account := ServerAccount.needed()) is not None:
            os.chown(location, account.uid, account.gid)
        with psycopg.connect(_in_database(server, "template1"), autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{location}'")
            connection.execute("CREATE DATABASE trading TEMPLATE postgres TABLESPACE small")
        url = _in_database(server, "trading")
        yield Scene(url, disk.fill, disk.empty, lambda: psycopg.connect(url, autocommit=True))
        server.end(signal.SIGQUIT)  # before its files are gone


def _in_database(server: PostgresProcess, name: str) -> str:
    return server.unix_url.replace("/postgres?", f"/{name}?")
