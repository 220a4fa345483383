"""REDIS_URL: the forms that redis-py knows, and Sentinel's. No message repeats the URL."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from nexgent_db.errors import ConfigurationError

__all__ = ["SentinelPlace", "check_redis_url", "describe_redis", "is_redis_url", "sentinel_place"]


def check_redis_url(url: str) -> str:
    """Returns ``url`` when its form is a known one, without an option that changes the form of answers.

    Raises ConfigurationError, whose message does not contain the URL.
    """
    if not is_redis_url(url):
        raise ConfigurationError(f"REDIS_URL is malformed: it should look like {REDIS_FORMS}")
    names = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    if refused := sorted(names & _CHANGE_ANSWERS):
        raise ConfigurationError(f"REDIS_URL has the option {refused[0]}: leave it out, the cache chooses it itself")
    return url


_CHANGE_ANSWERS: Final = {"protocol", "legacy_responses", "decode_responses", "encoding", "encoding_errors"}


def describe_redis(url: str) -> str:
    """The hosts, or the socket, and the database of REDIS_URL, for messages and logs; never the password."""
    parts = urlsplit(url)
    place = parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")
    return f"{parts.scheme}://{place}"


REDIS_FORMS: Final = "redis://host:6379/0, unix:///path.sock or redis+sentinel://host1,host2/master-name/0"

_PLAIN_REDIS: Final = ("redis", "rediss", "unix")
_SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
_SENTINEL_PORT: Final = 26379
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]@/,]+)(?::([0-9]{1,5}))?")
_PATH: Final = re.compile(r"/([^/@]+)(?:/([0-9]{1,5}))?")
_SENTINEL_OPTIONS: Final = {"sentinel_username", "sentinel_password"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelPlace:
    """The name of a master, the Sentinels that know its address, and the logins for both."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    database: int
    tls: bool
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    sentinel_username: str | None = field(repr=False)
    sentinel_password: str | None = field(repr=False)


def is_redis_url(url: str) -> bool:
    """Is the URL's form a known one?"""
    try:
        parts = urlsplit(url)
        if parts.scheme in _SENTINEL:
            return sentinel_place(url) is not None
        _ = parts.port  # raises where a bare / in a password makes the port no number
    except ValueError:
        return False
    return parts.scheme in _PLAIN_REDIS and (parts.scheme == "unix" or "@" not in parts.path)


def sentinel_place(url: str) -> SentinelPlace | None:
    """The parts of ``redis+sentinel://user:password@host1:26379,host2/master-name/0?sentinel_password=…``.

    None for a URL of another scheme. Raises ValueError for a malformed one.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SENTINEL:
        return None
    login, _, places = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    hosts = [_HOST.fullmatch(place) for place in places.split(",")]
    path = _PATH.fullmatch(parts.path)
    given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    options = dict(given)
    if path is None or parts.fragment or options.keys() - _SENTINEL_OPTIONS or len(options) < len(given):
        raise ValueError("malformed")
    return SentinelPlace(
        hosts=tuple(_host(found) for found in hosts),
        master=unquote(path[1]),
        database=int(path[2] or 0),
        tls=parts.scheme == "rediss+sentinel",
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_username=options.get("sentinel_username") or None,
        sentinel_password=options.get("sentinel_password") or None,
    )


def _host(found: re.Match[str] | None) -> tuple[str, int]:
    port = int(found[2] or _SENTINEL_PORT) if found is not None else 0
    if found is None or not 0 < port < 65536:
        raise ValueError("malformed")
    return found[1].strip("[]"), port
