"""What a REDIS_URL says: the forms that redis-py knows, and Sentinel's. Pure; no message repeats the URL."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

FORMS: Final = "redis://host:6379/0, unix:///path.sock or redis+sentinel://host1,host2/master-name/0"

_PLAIN: Final = ("redis", "rediss", "unix")
_SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
_SENTINEL_PORT: Final = 26379
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]@/,]+)(?::([0-9]{1,5}))?")
_PATH: Final = re.compile(r"/([^/@]+)(?:/([0-9]{1,5}))?")
_OPTIONS: Final = {"sentinel_username", "sentinel_password"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelPlace:
    """A master by its name, the Sentinels that know where it is, and how to log in at it and at them."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    database: int
    tls: bool
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    sentinel_username: str | None = field(repr=False)
    sentinel_password: str | None = field(repr=False)


def is_redis_url(url: str) -> bool:
    """Is its form one that can be connected to?"""
    try:
        parts = urlsplit(url)
        if parts.scheme in _SENTINEL:
            return sentinel_place(url) is not None
        _ = parts.port  # not a number where a password holds a bare /
    except ValueError:
        return False
    return parts.scheme in _PLAIN and (parts.scheme == "unix" or "@" not in parts.path)


def sentinel_place(url: str) -> SentinelPlace | None:
    """What ``redis+sentinel://user:password@host1:26379,host2/master-name/0?sentinel_password=…`` says.

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
    if path is None or parts.fragment or options.keys() - _OPTIONS or len(options) < len(given):
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
