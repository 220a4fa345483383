"""Any URL and any environment is read, or refused with ConfigurationError, whose message never has the secret."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from nexgent_db._redis_url import check_redis_url, describe_redis
from nexgent_db.errors import ConfigurationError
from nexgent_db.keyring import WalletKeyring
from nexgent_db.settings import (
    Settings,
    describe,
    parse_database_url,
    parse_replica_urls,
    session_conninfo,
    session_settings,
    with_schema,
)
from nexgent_db.sync.cache.servers import RedisServers
from tests.support.builders.mutants import SECRET, ensure_good, fuzz, mutants

_DATABASE_URLS: Final = (
    f"postgresql://role:{SECRET}@host:5432/base?sslmode=require&schema=cell_1",
    f"postgres://role:{SECRET}@[::1]:5432,other/base?options=-c%20work_mem%3D1MB&application_name=a",
    f"host=/tmp user=role password='{SECRET}' dbname=base options='-csearch_path=a'",
    f"postgresql:///base?host=/tmp&password={SECRET}",
    f"jdbc:postgresql://role:{SECRET}@host/base",
    f"prisma+postgres://role:{SECRET}@host/base?connection_limit=3",
    f"postgresql://role:{SECRET}@host/base?pgbouncer=true&pool_timeout=3",
)
_DATABASE_PIECES: Final = ("@", "/", "?", "&", "=", ":", ",", "schema=", "options=", "port=", "://", "service=x", "[")
_REDIS_URLS: Final = (
    f"redis://role:{SECRET}@host:6379/0?socket_timeout=1",
    f"rediss://:{SECRET}@[::1]:6379/0?ssl_cert_reqs=none",
    f"unix://role:{SECRET}@/tmp/a.sock?db=1",
    f"redis+sentinel://role:{SECRET}@host1:26379,host2/master/0?sentinel_password={SECRET}",
)
_REDIS_PIECES: Final = ("@", "/", "?", "&", "=", ":", ",", "db=", "max_connections=", "protocol=3", "]", "[", "health_")
_NAMES: Final = ("POOL_MAX_SIZE", "POOL_TIMEOUT_S", "PREPARE_THRESHOLD", "POOLER", "CACHE_PREFIX", "MAX_ANSWER_MIB")
_KEYS: Final = ("[1,2,3]", "5" * 88, "[" + ",".join(["7"] * 64) + "]", "1" * 44)


@fuzz
@given(mutants(_DATABASE_URLS, _DATABASE_PIECES))
@example("p" + "9" * 5000 + "ostgresql://host/base")
def test_any_database_url_is_parsed_or_refused(url: str) -> None:
    try:
        conninfo = parse_database_url(url)
        settings = Settings.from_url(url, {})
        session_settings(settings)
        session_conninfo(settings)
        with_schema(conninfo, "other")
        assert SECRET not in repr(replace(settings, schema=None))  # a piece of the URL may have become the schema
        describe(conninfo)
    except ConfigurationError as error:
        ensure_good(error)


@fuzz
@given(st.lists(mutants(_DATABASE_URLS, _DATABASE_PIECES), max_size=3))
def test_any_urls_of_replicas_are_parsed_or_refused(urls: list[str]) -> None:
    try:
        parse_replica_urls(urls)
    except ConfigurationError as error:
        ensure_good(error)


@fuzz
@given(mutants(_REDIS_URLS, _REDIS_PIECES))
def test_any_redis_url_is_accepted_or_refused(url: str) -> None:
    try:
        check_redis_url(url)
        describe_redis(url)
        RedisServers(url, None)
    except ConfigurationError as error:
        ensure_good(error)


@fuzz
@given(
    st.dictionaries(st.sampled_from(_NAMES), mutants(["10", "0.5", "none", "transaction", "nexgent:"])),
    st.dictionaries(
        st.sampled_from(["DATABASE_REPLICA_URLS", "REDIS_URL"]), mutants([_DATABASE_URLS[0], _REDIS_URLS[0]])
    ),
)
@example({"POOL_MAX_SIZE": "9" * 5000}, {})
@example({"POOL_MAX_SIZE": "9" * 400}, {})
@example({"POOL_TIMEOUT_S": "9" * 400}, {})
@example({"POOL_MAX_SIZE": _REDIS_URLS[0]}, {})
@example({"POOL_MAX_SIZE": f"redis://role:{SECRET}timeout=1"}, {})
@example({"POOLER": "9" * 5000}, {})
@example({"POOLER": _DATABASE_URLS[0]}, {})
def test_any_environment_is_read_or_refused(variables: dict[str, str], urls: dict[str, str]) -> None:
    named = {f"NEXGENT_DB_{name}": value for name, value in variables.items()}
    try:
        Settings.from_env({"DATABASE_URL": _DATABASE_URLS[0], **urls, **named})
    except ConfigurationError as error:
        ensure_good(error)


@fuzz
@given(st.dictionaries(st.integers(1, 9).map("WALLET_{}".format), mutants(_KEYS), max_size=3))
@example({"WALLET_1": "[" * 1000})
def test_any_wallet_keys_are_read_or_refused(environment: dict[str, str]) -> None:
    try:
        WalletKeyring.from_env(environment)
    except ConfigurationError as error:
        ensure_good(error)
