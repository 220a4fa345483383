# Generated from tests/integration/aio/test_cache_tls.py by `make sync`: do not edit.
"""A Redis that is reached over TLS, by a user with a password: used like any other, and nothing tells the password."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nexgent_db import Database
from nexgent_db.errors import CacheUnreachable, ConfigurationError
from nexgent_db.models import SOL_MINT
from nexgent_db.settings import Settings
from nexgent_db.sync import _cache_whole
from tests.integration.sync.factories import TOKEN, Owner, funded_owner
from tests.support.tls_proxy import TlsProxy, tls_proxy
from tests.support.valkey_server import ValkeyServer, valkey_server

PASSWORD = "s3cret-of-redis"
LOGIN = f"nexgent:{PASSWORD}@"


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with valkey_server("--user", "nexgent", "on", f">{PASSWORD}", "~*", "&*", "+@all") as running:
        yield running


@pytest.fixture
def proxy(server: ValkeyServer, tmp_path: Path) -> Iterator[TlsProxy]:
    with tls_proxy(server.socket, tmp_path) as before:
        yield before


@contextmanager
def opened(database_url: str, redis_url: str) -> Iterator[Database]:
    with Database(replace(Settings.from_url(database_url), redis_url=redis_url)) as db:
        yield db


def owner_with_a_position(db: Database) -> Owner:
    owner = funded_owner(db)
    db.trades.buy(owner.buy("1", "1000", TOKEN))
    return owner


def assert_read_from(db: Database, owner: Owner, *, the_cache: bool) -> None:
    """The second time at the latest, what is read is found there, or is not; and is the database's."""
    positions = db.positions.list_by_agent(owner.agent_id)
    for _ in range(2):
        hits = db.cache.metrics().hits
        assert db.cache.positions_of_agent(owner.agent_id) == positions
        assert [db.cache.position(position.id) for position in positions] == positions
        assert db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT) is not None
    assert db.cache.metrics().hits - hits == (2 + len(positions) if the_cache else 0)


def test_the_cache_is_used_over_tls_and_again_after_the_server_was_away(
    fresh_database_url: str, server: ValkeyServer, proxy: TlsProxy
) -> None:
    with opened(fresh_database_url, proxy.url(LOGIN, ssl_ca_certs=str(proxy.authority))) as db:
        assert db.cache.metrics().state == "closed"
        owner = owner_with_a_position(db)
        assert_read_from(db, owner, the_cache=True)
        with server.client() as client:
            assert {each["user"] for each in client.client_list() if each["name"] == ""} >= {"nexgent"}
        assert set(proxy.versions) <= {"TLSv1.2", "TLSv1.3"}
        server.kill()
        db.trades.dca_buy(owner.dca_buy("1", "500"))
        assert_read_from(db, owner, the_cache=False)
        server.start()
        while db.cache.metrics().state != "closed":
            db.cache._recover()
        assert_read_from(db, owner, the_cache=True)


WRONG = {
    "an authority that nobody trusts": "rediss://{login}localhost:{port}/0",
    "a certificate for another name": "rediss://{login}127.0.0.1:{port}/0?ssl_ca_certs={authority}",
    "no TLS": "redis://{login}localhost:{port}/0",
    "another password": "rediss://nexgent:not-{password}@localhost:{port}/0?ssl_ca_certs={authority}",
    "another password, in the options": "unix://{socket}?username=nexgent&password=not-{password}",
    "a socket that is not there": "unix://{login}{socket}.gone",
}


@pytest.mark.parametrize("what", WRONG)
def test_a_redis_that_cannot_be_logged_in_at_is_not_used_and_nothing_tells_the_password(
    database_url: str,
    server: ValkeyServer,
    proxy: TlsProxy,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    monkeypatch.setattr(_cache_whole, "PROBE_S", 0.01)
    monkeypatch.setattr(_cache_whole, "ATTEMPTS", 2)
    caplog.set_level("DEBUG")
    url = WRONG[what].format(
        login=LOGIN, password=PASSWORD, port=proxy.port, authority=proxy.authority, socket=server.socket
    )
    with opened(database_url, url) as db:
        owner = owner_with_a_position(db)
        assert_read_from(db, owner, the_cache=False)
        metrics = db.cache.metrics()
        assert (metrics.state, metrics.hits) == ("open", 0)
        with pytest.raises(CacheUnreachable) as raised:
            db.cache.verify()
        link: Any = db.cache._link
        said = [
            *(caplog.text, repr(metrics), repr(db), repr(db.settings), str(db.settings), repr(raised.value)),
            *traceback.format_exception(raised.value),
            *map(repr, (db.cache, link, link._servers, link._servers._client)),
        ]
    assert metrics.reason
    assert PASSWORD not in " ".join(said)


@pytest.mark.parametrize("options", [f"pass={PASSWORD}", f"socket_timeout={PASSWORD}", f"ssl_cert_reqs={PASSWORD}"])
def test_an_option_that_is_none_is_refused_before_anything_is_sent(database_url: str, options: str) -> None:
    url = f"rediss://{LOGIN}localhost/0?{options}"
    with pytest.raises(ConfigurationError, match="REDIS_URL has an option") as raised:
        Database(replace(Settings.from_url(database_url), redis_url=url))
    assert PASSWORD not in " ".join(traceback.format_exception(raised.value))
