"""The fault tools cause the faults that they promise; otherwise a test of the cache would prove nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.faults.faulty_proxy import Fault, FaultyProxy
from tests.support.servers.valkey_server import ValkeyServer, valkey_server

TIMEOUT_S = 0.3


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    """A server that every test leaves running and answering."""
    with valkey_server() as running:
        yield running


def impatient(url: str) -> redis.Redis:
    """A client with a short timeout and no retry."""
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0))


def test_killed_server_restarts_empty() -> None:
    with valkey_server() as server:
        with server.client() as client:
            client.set("a", "1")
        server.kill()
        with pytest.raises(redis.ConnectionError):
            impatient(server.url).ping()
        server.start()
        with server.client() as client:
            assert client.keys() == []


def test_saved_state_is_restored() -> None:
    with valkey_server() as server:
        with server.client() as client:
            client.set("a", "old")
            server.save()
            client.set("a", "new")
        server.kill()
        server.start()
        with server.client() as client:
            assert client.get("a") == "old"
        server.forget_saved()
        server.kill()
        server.start()
        with server.client() as client:
            assert client.get("a") is None


def test_hanging_server_resumes(server: ValkeyServer) -> None:
    client = impatient(server.url)
    client.ping()
    with server.hanging(), pytest.raises(redis.TimeoutError):
        client.ping()
    assert client.ping()


def test_full_server_refuses_writes_and_no_reads(server: ValkeyServer) -> None:
    client = impatient(server.url)
    client.set("kept", "1")
    with server.configured("maxmemory", "1"):
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("another", "1")
        assert client.get("kept") == b"1"
        assert client.unlink("kept") == 1
    client.set("another", "1")


def test_proxy_without_fault_changes_nothing(proxy: FaultyProxy) -> None:
    client = impatient(proxy.url)
    value = bytes(range(256)) * 1000
    client.set("large", value)
    assert client.get("large") == value


@pytest.mark.parametrize("passing", [0, 1, 5])
def test_reply_is_cut_at_given_byte(proxy: FaultyProxy, passing: int) -> None:
    with redis.Redis.from_url(proxy.url, protocol=2) as client:
        connection = client.connection_pool.get_connection()
        connection.send_command("GET", "nothing")
        connection.read_response()
        proxy.fault = Fault(cut_after=passing)
        connection.send_command("ECHO", "x" * 100)
        received = connection._sock.recv(1000)
        assert received == b"$100\r\n"[:passing]
        client.connection_pool.release(connection)


def test_reply_is_delayed(proxy: FaultyProxy) -> None:
    proxy.fault = Fault(delay_s=0.2)
    started = time.perf_counter()
    assert redis.Redis.from_url(proxy.url).ping()
    assert time.perf_counter() - started >= 0.2


def test_slow_reply_completes_when_fault_ends(proxy: FaultyProxy) -> None:
    with redis.Redis.from_url(proxy.url, protocol=2) as client:
        connection = client.connection_pool.get_connection()
        connection.send_command("PING")
        connection.read_response()
        proxy.fault = Fault(drip_s=0.1)
        began = time.perf_counter()
        connection.send_command("PING")
        assert [connection._sock.recv(10) for _ in range(3)] == [b"+", b"P", b"O"]
        assert time.perf_counter() - began >= 0.3
        proxy.fault = Fault()
        received = b""
        while len(received) < 4:
            received += connection._sock.recv(10)
        assert received == b"NG\r\n"
        client.connection_pool.release(connection)


def test_endless_reply_lasts_until_fault_ends(proxy: FaultyProxy) -> None:
    with redis.Redis.from_url(proxy.url, protocol=2) as client:
        connection = client.connection_pool.get_connection()
        proxy.fault = Fault(endless_s=0.01)
        connection.send_command("PING")
        received = b""
        while len(received) < 5000:
            received += connection._sock.recv(1000)
        assert received.startswith(b"$1000000000\r\nxxx")
        connection.disconnect()
        client.connection_pool.release(connection)


def test_discarded_reply_keeps_connection(proxy: FaultyProxy) -> None:
    client = impatient(proxy.url)
    client.ping()
    proxy.fault = Fault(swallow=True)
    with pytest.raises(redis.TimeoutError):
        client.ping()


def test_reply_is_corrupted(proxy: FaultyProxy) -> None:
    client = impatient(proxy.url)
    client.ping()
    proxy.fault = Fault(garble=b"what?\r\n")
    with pytest.raises(redis.RedisError):
        client.ping()


def test_refused_connection_works_when_fault_ends(proxy: FaultyProxy) -> None:
    client = impatient(proxy.url)
    client.ping()
    proxy.fault = Fault(refuse=True)
    with pytest.raises(redis.ConnectionError):
        client.ping()
    proxy.fault = Fault()
    assert client.ping()
