"""Where Redis is: at the URL's address, where Sentinel says that the master is, or where a cluster's node points to."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError

from nexgent_db._background import async_socket_timeout_s
from nexgent_db._redis_url import SentinelPlace, sentinel_place
from nexgent_db.errors import ConfigurationError

TIMEOUT_S: Final = 0.25
FAILURES: Final = (RedisError, OSError, TimeoutError, ValueError, TypeError, IndexError, KeyError, UnicodeError)
"""What a server that is gone, or answers garbage, makes the client raise."""


class RedisServers:
    """Makes connections to the one server that is to be used now. ``greet`` is called with each before its use.

    Raises ConfigurationError for a URL whose options are wrong.
    """

    def __init__(self, url: str, greet: Any) -> None:
        self._sentinel = sentinel_place(url)
        self._address: dict[str, Any] = {}
        options: dict[str, Any] = {
            "socket_timeout": async_socket_timeout_s(TIMEOUT_S),
            "redis_connect_func": greet,
            **_options(),
        }
        place = self._sentinel
        try:
            if place is None:
                self._client: Any = Redis.from_url(url, **options)
            else:
                login: dict[str, Any] = {"username": place.username, "password": place.password}
                self._client = Redis(db=place.database, ssl=place.tls, **login, **options)
            self._tls = getattr(self._new_connection(), "ssl_context", None)
        except (RedisError, TypeError, ValueError):  # what they say may repeat a part of the URL
            raise ConfigurationError(
                "REDIS_URL has an option that is none, or one with a value that it cannot have"
            ) from None

    def _new_connection(self) -> Any:
        pool = self._client.connection_pool
        return pool.connection_class(**{**pool.connection_kwargs, **self._address})

    async def connect(self) -> Any:
        """A new connection."""
        connection = self._new_connection()
        if self._tls is not None:  # with one of its own it would read the system's certificates anew, which takes long
            connection.ssl_context = self._tls
        await connection.connect()
        return connection

    async def read(self, connection: Any, command: str) -> Any:
        """The answer to a command that was sent, as the client shapes it."""
        return await self._client.parse_response(connection, command)

    async def find(self) -> None:
        """Ask Sentinel where the master is, for connections made from now on. Raises RedisError when none knows."""
        if self._sentinel is not None:
            self._address = await self._ask(self._sentinel)

    async def moved(self) -> bool:
        """Does Sentinel name another master than the one in use? False also when no Sentinel answers."""
        if self._sentinel is not None:
            with suppress(RedisError, OSError):
                return await self._ask(self._sentinel) != self._address
        return False

    def learn(self, error: BaseException) -> None:
        """From a failure, where to look next: where a cluster's node points to, else where the URL says."""
        if self._sentinel is not None:
            return
        if isinstance(error, MovedError) and "path" not in self._client.connection_pool.connection_kwargs:
            host = {"host": error.host} if error.host else {}  # without one, the same host
            self._address = {**self._address, **host, "port": error.port}
        else:
            self._address = {}

    async def _ask(self, place: SentinelPlace) -> dict[str, Any]:
        for host, port in place.hosts:
            login: dict[str, Any] = {"username": place.sentinel_username, "password": place.sentinel_password}
            limit: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "decode_responses": True}
            sentinel: Any = Redis(host=host, port=port, ssl=place.tls, **login, **limit, **_options())
            try:
                found = await sentinel.sentinel_get_master_addr_by_name(place.master)
            except (RedisError, OSError):
                continue  # another one may know
            finally:
                await sentinel.aclose()
            if found is not None:
                return {"host": found[0], "port": int(found[1])}
        raise RedisConnectionError(f"no Sentinel of {len(place.hosts)} knows a master {place.master!r}")


def _options() -> dict[str, Any]:
    return {
        "socket_connect_timeout": TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
