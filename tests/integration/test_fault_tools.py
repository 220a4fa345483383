"""What the cache is tested with does what it says: a test that passes because a fault never came proves nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.faulty_proxy import Fault, FaultyProxy
from tests.support.valkey_server import ValkeyServer, valkey_server

TIMEOUT_S = 0.3


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    """A server that every test leaves running and answering."""
    with valkey_server() as running:
        yield running


def impatient(url: str) -> redis.Redis:
    """A client that waits for a moment and tries once."""
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0))


def test_a_killed_server_begins_with_nothing() -> None:
    with valkey_server() as server:
        with server.client() as client:
            client.set("a", "1")
        server.kill()
        with pytest.raises(redis.ConnectionError):
            impatient(server.url).ping()
        server.start()
        with server.client() as client:
            assert client.keys() == []


def test_a_saved_state_comes_back_as_it_was_then() -> None:
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


def test_a_hanging_server_does_not_answer_and_comes_back(server: ValkeyServer) -> None:
    client = impatient(server.url)
    client.ping()
    with server.hanging(), pytest.raises(redis.TimeoutError):
        client.ping()
    assert client.ping()


def test_a_full_server_refuses_writes_and_no_reads(server: ValkeyServer) -> None:
    client = impatient(server.url)
    client.set("kept", "1")
    with server.configured("maxmemory", "1"):
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("another", "1")
        assert client.get("kept") == b"1"
        assert client.unlink("kept") == 1
    client.set("another", "1")


def test_a_proxy_without_a_fault_changes_nothing(proxy: FaultyProxy) -> None:
    client = impatient(proxy.url)
    value = bytes(range(256)) * 1000
    client.set("large", value)
    assert client.get("large") == value


@pytest.mark.parametrize("passing", [0, 1, 5])
def test_an_answer_is_cut_at_the_byte_that_is_named(proxy: FaultyProxy, passing: int) -> None:
    with redis.Redis.from_url(proxy.url, protocol=2) as client:
        connection = client.connection_pool.get_connection()
        connection.send_command("GET", "nothing")
        connection.read_response()
        proxy.fault = Fault(cut_after=passing)
        connection.send_command("ECHO", "x" * 100)
        received = connection._sock.recv(1000)
        assert received == b"$100\r\n"[:passing]
        client.connection_pool.release(connection)


def test_an_answer_is_late(proxy: FaultyProxy) -> None:
    proxy.fault = Fault(delay_s=0.2)
    started = time.perf_counter()
    assert redis.Redis.from_url(proxy.url).ping()
    assert time.perf_counter() - started >= 0.2


def test_an_answer_is_swallowed_and_the_connection_stays(proxy: FaultyProxy) -> None:
    client = impatient(proxy.url)
    client.ping()
    proxy.fault = Fault(swallow=True)
    with pytest.raises(redis.TimeoutError):
        client.ping()


def test_an_answer_is_garbled(proxy: FaultyProxy) -> None:
    client = impatient(proxy.url)
    client.ping()
    proxy.fault = Fault(garble=b"what?\r\n")
    with pytest.raises(redis.RedisError):
        client.ping()


def test_a_refused_connection_works_again_when_the_fault_is_over(proxy: FaultyProxy) -> None:
    client = impatient(proxy.url)
    client.ping()
    proxy.fault = Fault(refuse=True)
    with pytest.raises(redis.ConnectionError):
        client.ping()
    proxy.fault = Fault()
    assert client.ping()
