"""Valkey topologies on loopback ports: a replica, a master with a replica under Sentinel, and a cluster."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from nexgent_db.embedded._binaries import valkey_program
from tests.support.servers.valkey_server import ValkeyServer, valkey_server

_WAIT_S: Final = 30.0
PASSWORD: Final = "s3cret-of-redis"
SENTINEL_PASSWORD: Final = "s3cret-of-sentinel"


def free_ports(count: int) -> list[int]:
    """Ports without a listener at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in sockets]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Ask again and again; fail after half a minute."""
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.02)


@contextmanager
def older_copy(server: ValkeyServer) -> Iterator[Callable[[], None]]:
    """Another server with the current data of ``server``. The yielded function copies that data back to ``server``."""
    server.save()
    (port,) = free_ports(1)

    def copy_back() -> None:
        with server.client() as client:
            client.replicaof("127.0.0.1", str(port))
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", "it follows")
            client.replicaof("NO", "ONE")

    at_once = ("--repl-diskless-sync-delay", "0")
    with valkey_server("--port", str(port), "--dir", str(server.socket.parent), *at_once):
        yield copy_back


# --- Sentinel -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SentinelGroup:
    """A master that asks for a password, its replica, and a Sentinel that asks for another one."""

    master: ValkeyServer
    replica: ValkeyServer
    ports: tuple[int, int]
    sentinel_port: int

    @property
    def url(self) -> str:
        """With a Sentinel that is not there before the one that is."""
        (nowhere,) = free_ports(1)
        hosts = f"127.0.0.1:{nowhere},127.0.0.1:{self.sentinel_port}"
        return f"redis+sentinel://:{PASSWORD}@{hosts}/nexgent/0?sentinel_password={SENTINEL_PASSWORD}"

    def wait_for_failover(self) -> None:
        """Until Sentinel names the replica, and that is a master."""

        def done() -> bool:
            with self._sentinel() as sentinel, self.replica_client() as replica:
                named = sentinel.sentinel_get_master_addr_by_name("nexgent")
                return bool(int(named[1]) == self.ports[1] and replica.info("replication")["role"] == "master")

        wait_until(done, "the replica is promoted")

    def wait_until_known(self) -> None:
        """Until Sentinel has heard from the replica itself that it follows: before that it would not promote it."""

        def known() -> bool:
            with self._sentinel() as sentinel:
                replicas = sentinel.sentinel_slaves("nexgent")
                return [(it["flags"], it["master-link-status"]) for it in replicas] == [("slave", "ok")]

        wait_until(known, "Sentinel knows the replica")

    def fail_over(self) -> None:
        """As an operator does, while both live. Refused for as long as Sentinel has not heard the replica lately."""

        def begun() -> bool:
            with self._sentinel() as sentinel:
                try:
                    sentinel.execute_command("SENTINEL FAILOVER", "nexgent")
                except redis.ResponseError as error:
                    if not str(error).startswith("NOGOODSLAVE"):
                        raise
                    return False
                return True

        wait_until(begun, "Sentinel begins a failover")
        self.wait_for_failover()

    def replica_client(self) -> redis.Redis:
        """To look and to meddle."""
        return redis.Redis(port=self.ports[1], password=PASSWORD, decode_responses=True)

    def _sentinel(self) -> redis.Redis:
        return redis.Redis(port=self.sentinel_port, password=SENTINEL_PASSWORD, decode_responses=True)


@contextmanager
def sentinel_group() -> Iterator[SentinelGroup]:
    """All three running, known to each other."""
    one, two, sentinel_port = free_ports(3)
    login = (
        "--requirepass",
        PASSWORD,
        "--masterauth",
        PASSWORD,
        "--bind",
        "127.0.0.1",
        "--repl-diskless-sync-delay",
        "0",
    )
    with ExitStack() as stack:
        master = stack.enter_context(valkey_server("--port", str(one), *login))
        replica = stack.enter_context(valkey_server("--port", str(two), *login, "--replicaof", f"127.0.0.1 {one}"))
        group = SentinelGroup(master, replica, (one, two), sentinel_port)
        with redis.Redis(port=two, password=PASSWORD, decode_responses=True) as client:
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the replica follows")
        stack.enter_context(_sentinel(group))
        group.wait_until_known()
        yield group


@contextmanager
def _sentinel(group: SentinelGroup) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="nexgent-sentinel-", dir="/tmp") as directory:
        file = Path(directory) / "sentinel.conf"
        file.write_text(
            f"port {group.sentinel_port}\nbind 127.0.0.1\nrequirepass {SENTINEL_PASSWORD}\n"
            f"sentinel monitor nexgent 127.0.0.1 {group.ports[0]} 1\n"
            f"sentinel auth-pass nexgent {PASSWORD}\n"
            "sentinel down-after-milliseconds nexgent 300\n"
            "sentinel failover-timeout nexgent 3000\n"
        )
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([valkey_program(), str(file), "--sentinel"], **quiet) as process:  # type: ignore[call-overload]
            try:
                with redis.Redis(port=group.sentinel_port, password=SENTINEL_PASSWORD) as client:
                    wait_until(lambda: _answers(client), "Sentinel answers")
                yield
            finally:
                process.terminate()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


# --- Cluster ------------------------------------------------------------------------------------


@contextmanager
def valkey_cluster(*slots: tuple[int, int]) -> Iterator[list[str]]:
    """A cluster of a node for each range of slots; their URLs."""
    ports = free_ports(2 * len(slots))
    nodes, buses = ports[: len(slots)], ports[len(slots) :]
    with ExitStack() as stack:
        clients = []
        for port, bus in zip(nodes, buses, strict=True):
            options = (
                "--port",
                str(port),
                "--bind",
                "127.0.0.1",
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                str(bus),
            )
            stack.enter_context(valkey_server(*options))
            clients.append(stack.enter_context(redis.Redis(port=port, decode_responses=True)))
        for client, (first, last) in zip(clients, slots, strict=True):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for port, bus in zip(nodes[1:], buses[1:], strict=True):
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
        wait_until(lambda: all(map(_sees_all, clients)), "all nodes have met")
        yield [f"redis://127.0.0.1:{port}/0" for port in nodes]


def _sees_all(client: redis.Redis) -> bool:
    return "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO"))
