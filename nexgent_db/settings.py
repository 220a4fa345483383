"""Where the servers are and how patiently to wait for them; read from the environment once.

| variable | meaning | default |
|---|---|---|
| ``DATABASE_URL`` | PostgreSQL, as a URL or libpq keywords; ``?schema=name`` sets the search path | required |
| ``REDIS_URL`` | Redis or Valkey; without it everything works, uncached | none |
| | through Sentinel: ``redis+sentinel://user:password@host1:26379,host2/master-name/0`` | |
| ``NEXGENT_DB_CACHE_PREFIX`` | what every Redis key begins with; on a cluster ``{nexgent}:`` | nexgent: |
| ``NEXGENT_DB_NEAR_CACHE_ROWS`` | answers of Redis kept in this process, at most; 0: none | 0 |
| ``NEXGENT_DB_POOL_MIN_SIZE``, ``…_POOL_MAX_SIZE`` | connections kept, connections at most | 1, 10 |
| ``NEXGENT_DB_POOL_TIMEOUT_S`` | how long a caller waits for a connection | 5 |
| ``NEXGENT_DB_POOL_MAX_WAITING`` | how many callers may wait at once | 100 |
| ``NEXGENT_DB_CONNECT_TIMEOUT_S`` | how long one attempt to connect may take | 5 |
| ``NEXGENT_DB_STATEMENT_TIMEOUT_S`` | longest statement | 30 |
| ``NEXGENT_DB_LOCK_TIMEOUT_S`` | longest wait for a lock | 5 |
| ``NEXGENT_DB_IDLE_IN_TRANSACTION_TIMEOUT_S`` | longest pause inside a block | 30 |
| ``NEXGENT_DB_PREPARE_THRESHOLD`` | executions before a statement is prepared; ``none``: never | 2 |

What is kept in the process (``NEAR_CACHE_ROWS``) is dropped when the server tells of a change, within milliseconds; a
server that hangs is believed for 0.9 seconds at the most. So a pause by another process may be missed for as long.
Each such process has one connection more, and is told the name of every key that changes below the prefix.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final
from urllib.parse import unquote_plus

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db._redis_url import FORMS, is_redis_url
from nexgent_db.errors import ConfigurationError

_PREFIX: Final = "NEXGENT_DB_"
_LOOKS_LIKE: Final = "it should look like postgresql://user:password@host:5432/database"
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# As libpq reads one: the role and password end at the first @ that no / comes before.
_URL: Final = re.compile(r"(?P<role>postgres(?:ql)?://(?:[^@/]*@)?)(?P<place>[^?]*)(?:\?(?P<query>.*))?", re.DOTALL)
_BAD_ESCAPE: Final = re.compile("%(?![0-9a-f]{2})", re.IGNORECASE)
_LONGEST_S: Final = (2**31 - 1) // 1000
"""PostgreSQL counts timeouts in milliseconds, in 32 bits."""
_LONGEST_IDENTIFIER: Final = 63
"""In bytes. PostgreSQL cuts longer ones off, which could make it another schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a :class:`~nexgent_db.Database` needs to know. Times are seconds.

    ``conninfo`` is a libpq connection string and may hold a password: neither it nor ``redis_url``
    appears in the repr.
    """

    conninfo: str = field(repr=False)
    redis_url: str | None = field(default=None, repr=False)
    cache_prefix: str = "nexgent:"
    near_cache_rows: int = 0
    pool_min_size: int = 1
    pool_max_size: int = 10
    pool_timeout_s: float = 5.0
    pool_max_waiting: int = 100
    connect_timeout_s: int = 5
    statement_timeout_s: float = 30.0
    lock_timeout_s: float = 5.0
    idle_in_transaction_timeout_s: float = 30.0
    prepare_threshold: int | None = 2

    def __post_init__(self) -> None:
        if _parsed(self.conninfo) is None:
            raise ConfigurationError("conninfo is malformed: Settings.from_url makes it from a URL")
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int | float):
                continue
            if not math.isfinite(value):
                raise ConfigurationError(f"{item.name} must be a finite number, not {value}")
            if value <= 0 and item.name not in _MAY_BE_ZERO:
                raise ConfigurationError(f"{item.name} must be above zero, not {value}")
            if value < 0:
                raise ConfigurationError(f"{item.name} must not be negative, not {value}")
            if item.name.endswith("_s") and value > _LONGEST_S:
                raise ConfigurationError(f"{item.name} must be at most {_LONGEST_S}, not {value}")
        if self.pool_min_size > self.pool_max_size:
            raise ConfigurationError(
                f"pool_min_size ({self.pool_min_size}) is above pool_max_size ({self.pool_max_size})"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables above; raise ConfigurationError for the first that is missing or malformed."""
        url = environ.get("DATABASE_URL", "").strip()
        if not url:
            raise ConfigurationError(f"DATABASE_URL is not set: {_LOOKS_LIKE}")
        return cls.from_url(url, environ)

    @classmethod
    def from_url(cls, database_url: str, environ: Mapping[str, str] = os.environ) -> Settings:
        """The same with the database given by the caller; the other settings come from ``environ``."""
        given: dict[str, int | float | None] = {}
        for item in fields(cls):
            if (text := environ.get(_PREFIX + item.name.upper(), "").strip()) and item.name not in _TEXTS:
                given[item.name] = _number(_PREFIX + item.name.upper(), text, whole=item.name in _WHOLE)
        redis_url = environ.get("REDIS_URL", "").strip() or None
        return cls(
            conninfo=parse_database_url(database_url),
            redis_url=None if redis_url is None else check_redis_url(redis_url),
            cache_prefix=environ.get(_PREFIX + "CACHE_PREFIX", "").strip() or "nexgent:",
            **given,  # type: ignore[arg-type]  # each name is one of the numeric fields
        )


_TEXTS: Final = {"conninfo", "redis_url", "cache_prefix"}
_WHOLE: Final = {
    "near_cache_rows",
    "pool_min_size",
    "pool_max_size",
    "pool_max_waiting",
    "connect_timeout_s",
    "prepare_threshold",
}
_MAY_BE_ZERO: Final = {"near_cache_rows", "pool_min_size", "prepare_threshold"}


def _number(name: str, text: str, *, whole: bool) -> int | float | None:
    if text.lower() == "none" and name.endswith("PREPARE_THRESHOLD"):
        return None
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise ConfigurationError(f"{name} is {text!r}: it should be a {'whole ' if whole else ''}number") from None


def parse_database_url(url: str) -> str:
    """A libpq connection string for ``url``, which may be a URL or libpq keywords already.

    The public system's ``?schema=name`` becomes ``search_path``. Raises ConfigurationError, which never
    repeats the URL, its password, or what libpq says of them.
    """
    schema = None
    if (scheme := _SCHEME.match(url)) is not None:
        if scheme[1] not in ("postgresql", "postgres"):
            raise ConfigurationError(f"DATABASE_URL has the scheme {scheme[1]!r}: {_LOOKS_LIKE}")
        url, schema = _split_schema(url)
    parts = _parsed(url)
    if parts is None:
        raise ConfigurationError(f"DATABASE_URL is malformed: {_LOOKS_LIKE}")
    if not parts:
        raise ConfigurationError(f"DATABASE_URL names no database: {_LOOKS_LIKE}")
    if schema is not None:
        parts["options"] = " ".join(filter(None, (str(parts.get("options") or ""), _search_path_option(schema))))
    return make_conninfo("", **parts)


def _parsed(conninfo: str) -> dict[str, Any] | None:
    """What libpq makes of it; None when it is malformed. What libpq says then may quote the password: not kept."""
    if "\0" in conninfo:
        return None
    try:
        parts = conninfo_to_dict(conninfo)
    except (psycopg.Error, UnicodeError):
        return None
    # In a URL a password with a bare / makes its beginning the port, which libpq's complaint would quote.
    ports = str(parts.get("port") or "").split(",")
    return parts if all(re.fullmatch("[0-9]{0,5}", port) for port in ports) else None


def _split_schema(url: str) -> tuple[str, str | None]:
    found = _URL.fullmatch(url)
    assert found is not None
    if "@" in found["place"]:
        raise ConfigurationError(
            "DATABASE_URL is malformed: in its role and password write @ as %40, / as %2F and % as %25"
        )
    pairs = (found["query"] or "").split("&")
    schemas = [value for name, _, value in (pair.partition("=") for pair in pairs) if name == "schema"]
    if not schemas:
        return url, None
    schema = _schema_name(schemas[0])
    if len(schemas) > 1 or schema is None:
        raise ConfigurationError(
            f"DATABASE_URL: ?schema= should name one schema, in {_LONGEST_IDENTIFIER} bytes at the most"
        )
    rest = "&".join(pair for pair in pairs if pair.partition("=")[0] != "schema")
    return found["role"] + found["place"] + ("?" + rest if rest else ""), schema


def _schema_name(text: str) -> str | None:
    """``text`` decoded; None when it is not the name of a schema."""
    if _BAD_ESCAPE.search(text):
        return None
    try:
        name = unquote_plus(text, errors="strict")
        size = len(name.encode())
    except UnicodeError:
        return None
    usable = 0 < size <= _LONGEST_IDENTIFIER and "\0" not in name and name != "$user"  # the role's own, even quoted
    return name if usable else None


def _search_path_option(schema: str) -> str:
    quoted = '"' + schema.replace('"', '""') + '"'
    return "-csearch_path=" + re.sub(r"([\\ \t\n\v\f\r])", r"\\\1", quoted)  # white space would end the option


def check_redis_url(url: str) -> str:
    """``url`` itself when its form is one that can be connected to; else ConfigurationError, without the URL."""
    if not is_redis_url(url):
        raise ConfigurationError(f"REDIS_URL is malformed: it should look like {FORMS}")
    return url


def describe(conninfo: str) -> str:
    """Who connects where, for messages and logs: role, hosts and database, never the password."""
    parts = conninfo_to_dict(conninfo)
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"{parts.get('user') or 'the default role'} at {host}{port}, database {parts.get('dbname') or 'default'}"
