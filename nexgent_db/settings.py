"""The servers' addresses and the limits of waiting, read once from the environment.

| variable | meaning | default |
|---|---|---|
| ``DATABASE_URL`` | PostgreSQL, as a URL or libpq keywords; ``?schema=name`` sets the search path | required |
| ``DATABASE_REPLICA_URLS`` | URLs of streaming replicas, with spaces or commas between them, for ``from_env`` | none |
| ``NEXGENT_DB_REPLICA_WAIT_S`` | how long a read waits for a replica to catch up; then the primary answers | 0.1 |
| ``REDIS_URL`` | Redis or Valkey, for ``from_env``; without it everything works, uncached | none |
| | through Sentinel: ``redis+sentinel://user:password@host1:26379,host2/master-name/0`` | |
| ``NEXGENT_DB_CACHE_PREFIX`` | start of every Redis key; on a cluster ``{nexgent}:`` | nexgent: |
| ``NEXGENT_DB_LOCAL_CACHE_ROWS`` | size of the local cache in rows; 0: none | 0 |
| ``NEXGENT_DB_POOL_MIN_SIZE``, ``…_POOL_MAX_SIZE`` | connections kept open, connections at most | 1, 10 |
| ``NEXGENT_DB_POOL_TIMEOUT_S`` | how long a caller waits for a connection | 5 |
| ``NEXGENT_DB_POOL_MAX_WAITING`` | how many callers may wait at once | 100 |
| ``NEXGENT_DB_CONNECT_TIMEOUT_S`` | how long one attempt to connect may take | 5 |
| ``NEXGENT_DB_STATEMENT_TIMEOUT_S`` | longest statement | 30 |
| ``NEXGENT_DB_LOCK_TIMEOUT_S`` | longest wait for a lock | 5 |
| ``NEXGENT_DB_IDLE_IN_TRANSACTION_TIMEOUT_S`` | longest pause inside a transaction | 30 |
| ``NEXGENT_DB_DRAIN_S`` | how long closing relays the outbox, see ``close``; 0: not at all | 0 |
| ``NEXGENT_DB_MAX_ANSWER_MIB`` | longest answer of PostgreSQL, in MiB, about | 256 |
| ``NEXGENT_DB_PREPARE_THRESHOLD`` | executions before a statement is prepared; ``none``: never | 2 |
| ``NEXGENT_DB_POOLER`` | the mode of a pooler before PostgreSQL: ``transaction`` or ``session`` | found out |
| ``DIRECT_DATABASE_URL`` | for the command line, instead of ``DATABASE_URL``: PostgreSQL without the pooler | none |

``NEXGENT_DB_LOCAL_CACHE_ROWS`` adds an in-process cache. Redis client tracking invalidates a changed row within
milliseconds. When the server hangs, the process uses its rows for 0.9 seconds at most, so for that long it may not see
that another process has paused an agent. Each such process has one more connection to Redis, which receives the name of
every changed key with the prefix.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final
from urllib.parse import unquote_plus

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db._foreign_dsn import ensure_known_options, ensure_no_foreign_form
from nexgent_db._redis_url import check_redis_url
from nexgent_db._text import quoted
from nexgent_db.errors import ConfigurationError
from nexgent_db.poolers import Pooler, check_pooler, startup_settings

_PREFIX: Final = "NEXGENT_DB_"
_LOOKS_LIKE: Final = "it should look like postgresql://user:password@host:5432/database"
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# As libpq reads a URL: the role and password end at the first @ without a / before it.
_URL: Final = re.compile(r"(?P<role>postgres(?:ql)?://(?:[^@/]*@)?)(?P<place>[^?]*)(?:\?(?P<query>.*))?", re.DOTALL)
_BAD_ESCAPE: Final = re.compile("%(?![0-9a-f]{2})", re.IGNORECASE)
_LARGEST: Final = 10**10 - 1
_LONGEST_S: Final = (2**31 - 1) // 1000
"""PostgreSQL counts timeouts in milliseconds, in 32 bits."""
LONGEST_IDENTIFIER: Final = 63
"""In bytes. PostgreSQL truncates longer names, so one could name another schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a :class:`~nexgent_db.Database`. Times are seconds.

    ``conninfo`` and ``replica_conninfos`` are libpq connection strings and may hold a password: neither they nor
    ``redis_url`` appear in the repr. ``schema`` is that of ``?schema=``, which ``conninfo`` has as its search path: the
    cache's keys of each schema but ``public`` are separate.
    """

    conninfo: str = field(repr=False)
    replica_conninfos: tuple[str, ...] = field(default=(), repr=False)
    replica_wait_s: float = 0.1
    redis_url: str | None = field(default=None, repr=False)
    schema: str | None = None
    cache_prefix: str = "nexgent:"
    local_cache_rows: int = 0
    pool_min_size: int = 1
    pool_max_size: int = 10
    pool_timeout_s: float = 5.0
    pool_max_waiting: int = 100
    connect_timeout_s: int = 5
    statement_timeout_s: float = 30.0
    lock_timeout_s: float = 5.0
    idle_in_transaction_timeout_s: float = 30.0
    drain_s: float = 0.0
    max_answer_mib: int = 256
    prepare_threshold: int | None = 2
    pooler: Pooler | None = None

    def __post_init__(self) -> None:
        if any(_parsed(conninfo) is None for conninfo in (self.conninfo, *self.replica_conninfos)):
            raise ConfigurationError("conninfo is malformed: Settings.from_url makes it from a URL")
        if self.pooler is not None:
            check_pooler(self.pooler)
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int | float):
                continue
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigurationError(f"{item.name} must be a finite number, not {value}")
            if abs(value) > _LARGEST:
                raise ConfigurationError(f"{item.name} must be a number of at most 10 digits")
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
        return cls.from_url(
            url,
            environ,
            redis_url=environ.get("REDIS_URL", "").strip() or None,
            replica_urls=_BETWEEN_URLS.split(environ.get("DATABASE_REPLICA_URLS", "").strip()),
        )

    @classmethod
    def from_url(
        cls,
        database_url: str,
        environ: Mapping[str, str] = os.environ,
        *,
        redis_url: str | None = None,
        replica_urls: Sequence[str] = (),
    ) -> Settings:
        """Settings with this database, and this cache and these replicas if they are given; REDIS_URL and
        DATABASE_REPLICA_URLS are not read. All others come from ``environ``. Raises ConfigurationError as above."""
        given: dict[str, int | float | str | None] = {}
        for item in fields(cls):
            if (text := environ.get(_PREFIX + item.name.upper(), "").strip()) and item.name not in _TEXTS:
                given[item.name] = _number(_PREFIX + item.name.upper(), text, whole=item.name in _WHOLE)
        if pooler := environ.get(_PREFIX + "POOLER", "").strip():
            given["pooler"] = check_pooler(pooler.lower())
        return cls(
            conninfo=parse_database_url(database_url),
            replica_conninfos=parse_replica_urls(replica_urls),
            schema=_schema_of(database_url),
            redis_url=None if redis_url is None else check_redis_url(redis_url),
            cache_prefix=environ.get(_PREFIX + "CACHE_PREFIX", "").strip() or "nexgent:",
            **given,  # type: ignore[arg-type]  # each name is a field, and its value has been read as one
        )


_TEXTS: Final = {"conninfo", "replica_conninfos", "redis_url", "schema", "cache_prefix", "pooler"}
_BETWEEN_URLS: Final = re.compile(r"[\s,]+(?=postgres(?:ql)?://)", re.IGNORECASE)
"""A comma inside a URL stands between its hosts."""
_WHOLE: Final = {
    "local_cache_rows",
    "pool_min_size",
    "pool_max_size",
    "pool_max_waiting",
    "connect_timeout_s",
    "max_answer_mib",
    "prepare_threshold",
}
_MAY_BE_ZERO: Final = {"drain_s", "local_cache_rows", "pool_min_size", "prepare_threshold"}


def _number(name: str, text: str, *, whole: bool) -> int | float | None:
    if text.lower() == "none" and name.endswith("PREPARE_THRESHOLD"):
        return None
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise ConfigurationError(
            f"{name} is {quoted(text)}: it should be a {'whole ' if whole else ''}number"
        ) from None


def parse_database_url(url: str) -> str:
    """A libpq connection string for ``url``, which may be a URL or libpq keywords already.

    The public system's ``?schema=name`` becomes ``search_path``. Raises ConfigurationError, whose message contains
    neither the URL nor its password nor libpq's message about them.
    """
    schema = None
    ensure_no_foreign_form(url)
    if (scheme := _SCHEME.match(url)) is not None:
        if scheme[1] not in ("postgresql", "postgres"):
            raise ConfigurationError(f"DATABASE_URL has the scheme {quoted(scheme[1])}: {_LOOKS_LIKE}")
        url, schema = _split_schema(url)
    parts = _parsed(url)
    if parts is None:
        ensure_known_options(url)
        raise ConfigurationError(f"DATABASE_URL is malformed: {_LOOKS_LIKE}")
    if not parts:
        raise ConfigurationError(f"DATABASE_URL names no database: {_LOOKS_LIKE}")
    if schema is not None:
        parts["options"] = " ".join(filter(None, (libpq_parameters(url).get("options"), _search_path_option(schema))))
    return make_conninfo("", **parts)


def parse_replica_urls(urls: Sequence[str]) -> tuple[str, ...]:
    """The connection strings of the replicas; empty texts are left out.

    Raises ConfigurationError, with the number of the URL, as :func:`parse_database_url`; for two that are the same.
    """
    parsed: list[str] = []
    for number, url in enumerate(filter(None, urls), 1):
        try:
            conninfo = parse_database_url(url)
        except ConfigurationError as error:
            named = str(error).replace("DATABASE_URL", f"URL {number} of DATABASE_REPLICA_URLS")
            raise ConfigurationError(named) from None
        if conninfo in parsed:
            raise ConfigurationError(f"URL {number} of DATABASE_REPLICA_URLS is given twice")
        parsed.append(conninfo)
    return tuple(parsed)


def replica_settings(settings: Settings, conninfo: str) -> Settings:
    """The settings of the sessions of one replica: the primary's, at another place, without a cache, and with little
    patience for a connection, since another server can answer."""
    connect_timeout_s = min(settings.connect_timeout_s, _REPLICA_CONNECT_TIMEOUT_S)
    return replace(
        settings, conninfo=conninfo, replica_conninfos=(), redis_url=None, connect_timeout_s=connect_timeout_s
    )


_REPLICA_CONNECT_TIMEOUT_S: Final = 2
"""The shortest time that libpq allows."""


def libpq_parameters(conninfo: str) -> dict[str, str]:
    """What libpq connects with: the string's own parameters, then the service file's, then the environment's.

    Nothing is connected: libpq only resolves what it is given. Defaults that libpq leaves open are missing. Raises
    ConfigurationError for a malformed string.
    """
    if _parsed(conninfo) is None:
        raise ConfigurationError(f"the connection string is malformed: {_LOOKS_LIKE}")
    nowhere = make_conninfo(conninfo, host="/dev/null", hostaddr="", port="")
    attempt = pq.PGconn.connect_start(nowhere.encode())
    try:
        found = {option.keyword.decode(): option.val.decode() for option in attempt.info if option.val}
    finally:
        attempt.finish()
    return {name: value for name, value in found.items() if name not in _PLACE_PARAMETERS}


_PLACE_PARAMETERS: Final = {"host", "hostaddr", "port"}


def _parsed(conninfo: str) -> dict[str, Any] | None:
    """The parts as libpq parses them; None for a malformed string. libpq's message is dropped: it may quote the
    password."""
    if "\0" in conninfo:
        return None
    try:
        parts = conninfo_to_dict(conninfo)
    except (psycopg.Error, UnicodeError):
        return None
    # In a URL whose password contains a bare /, libpq takes its start for the port, and would quote it in an error.
    ports = str(parts.get("port") or "").split(",")
    return parts if all(re.fullmatch("[0-9]{0,5}", port) for port in ports) else None


def _schema_of(url: str) -> str | None:
    """The schema of a URL's ``?schema=``, once the URL was found to be well-formed."""
    return _split_schema(url)[1] if _SCHEME.match(url) else None


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
            f"DATABASE_URL: ?schema= should name one schema, in {LONGEST_IDENTIFIER} bytes at most"
        )
    rest = "&".join(pair for pair in pairs if pair.partition("=")[0] != "schema")
    return found["role"] + found["place"] + ("?" + rest if rest else ""), schema


def _schema_name(text: str) -> str | None:
    """``text`` decoded; None when no schema can have this name."""
    if _BAD_ESCAPE.search(text):
        return None
    try:
        name = unquote_plus(text, errors="strict")
    except UnicodeError:
        return None
    return name if is_schema_name(name) else None


def is_schema_name(name: str) -> bool:
    """Can a schema have this name, whole? ``$user`` means the role's own, even quoted."""
    try:
        size = len(name.encode())
    except UnicodeError:
        return False
    return 0 < size <= LONGEST_IDENTIFIER and "\0" not in name and name != "$user"


def _search_path_option(schema: str) -> str:
    quoted = '"' + schema.replace('"', '""') + '"'
    return "-csearch_path=" + re.sub(r"([\\ \t\n\v\f\r])", r"\\\1", quoted)  # white space would end the option


def with_schema(conninfo: str, schema: str) -> str:
    """The connection string with this schema as its search path, as ``?schema=`` in a URL."""
    options = " ".join(filter(None, (libpq_parameters(conninfo).get("options"), _search_path_option(schema))))
    return make_conninfo(conninfo, options=options)


def session_settings(settings: Settings) -> dict[str, str]:
    """The limits of ``settings`` and what the options of its string, service file and libpq's environment ask for: the
    later wins. Raises ConfigurationError for an option that sets nothing."""
    return {**_limits(settings), **startup_settings(libpq_parameters(settings.conninfo).get("options", ""))}


def session_conninfo(settings: Settings, connect_timeout_s: float | None = None, *, options: bool = True) -> str:
    """``settings.conninfo`` with the encoding, limits and keep-alives that every connection gets.

    Whatever the string, a service file or libpq's environment asks for wins, except for the encoding. Without
    ``options``, none are sent, the limits neither: a pooler takes none.
    """
    asked = libpq_parameters(settings.conninfo)
    defaults: dict[str, Any] = {
        "application_name": "nexgent-db",
        "connect_timeout": settings.connect_timeout_s,
        # The client notices a vanished server within about 15 seconds, idle or not.
        "keepalives_idle": 5,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
    }
    parts = {
        **{name: value for name, value in defaults.items() if name not in asked},
        **conninfo_to_dict(settings.conninfo),
    }
    if connect_timeout_s is not None:
        parts["connect_timeout"] = max(1, round(connect_timeout_s))
    given = [f"-c{name}={value}" for name, value in _limits(settings).items()]
    parts["options"] = " ".join([*given, asked.get("options", "")]).strip()  # what comes last wins
    if not options:
        parts["options"] = ""  # so that libpq does not take PGOPTIONS
    parts["client_encoding"] = "UTF8"
    return make_conninfo("", **parts)


def _limits(settings: Settings) -> dict[str, str]:
    """In milliseconds, by the names of PostgreSQL's settings."""
    limits = {
        "statement_timeout": settings.statement_timeout_s,
        "lock_timeout": settings.lock_timeout_s,
        "idle_in_transaction_session_timeout": settings.idle_in_transaction_timeout_s,
    }
    return {name: str(max(1, round(seconds * 1000))) for name, seconds in limits.items()}


def describe(conninfo: str) -> str:
    """The role, the hosts and the database, for messages and logs; never the password."""
    parts = conninfo_to_dict(conninfo)
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"{parts.get('user') or 'the default role'} at {host}{port}, database {parts.get('dbname') or 'default'}"
