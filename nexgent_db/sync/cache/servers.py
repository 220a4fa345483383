# Generated from nexgent_db/aio/cache/servers.py by `make sync`: do not edit.
"""The address of Redis (the URL's, the master's that Sentinel names, or a cluster node's), and connections to it.

Why redis-py's ``Sentinel`` does not ask the Sentinels. Measured with 8.1.0: a Sentinel that sends 14 bytes of reply at
intervals of 0.2 s holds its threaded ``discover_master()`` for 2.8 s, although every timeout is 0.25 s; here each
Sentinel has 0.25 s in all. A Sentinel that answers NOPERM ends its search; here the next Sentinel is asked. It also
needs the right to SENTINEL MASTERS instead of GET-MASTER-ADDR-BY-NAME.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any, Final
from weakref import WeakSet

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError, ResponseError
from redis.retry import Retry

from nexgent_db._concurrency import deadline, socket_timeout_s
from nexgent_db._redis_url import SentinelPlace, check_redis_url, sentinel_place
from nexgent_db.cache.sockets import connection_class, disown
from nexgent_db.errors import ConfigurationError

TIMEOUT_S: Final = 0.25
FAILURES: Final = (RedisError, OSError, TimeoutError, ValueError, TypeError, IndexError, KeyError, UnicodeError)
"""The errors that the Redis client raises when a server is gone or answers garbage."""
MAX_IDLE: Final = 32
"""How many connections are kept between calls."""


class RedisServers:
    """Opens connections to the current server, and calls ``handshake`` with each before its use.

    Options of the URL never replace the cache's own, such as its timeouts. Raises ConfigurationError for a URL whose
    options are wrong.
    """

    def __init__(self, url: str, handshake: Any) -> None:
        check_redis_url(url)
        self._sentinel = sentinel_place(url)
        self._address: dict[str, Any] = {}
        self._made: WeakSet[Any] = WeakSet()
        self._tls: Any = None
        options: dict[str, Any] = {
            "socket_timeout": socket_timeout_s(TIMEOUT_S),
            "redis_connect_func": handshake,
            **_options(),
        }
        place = self._sentinel
        try:
            if place is None:
                self._client: Any = Redis.from_url(url, **options)
                self._client.connection_pool.connection_kwargs.update(options)  # the URL's would win
            else:
                login: dict[str, Any] = {"username": place.username, "password": place.password}
                self._client = Redis(db=place.database, ssl=place.tls, **login, **options)
            self._tls = getattr(self._new_connection(), "ssl_context", None)
        except (RedisError, TypeError, ValueError):  # their messages may repeat a part of the URL
            raise ConfigurationError("REDIS_URL has an unknown option or an invalid value") from None
        if self._tls is not None:
            with suppress(OSError, ValueError):  # the first connection reports what is wrong
                self._tls.get()  # reads the system's certificates now: no call has the time for it

    def _new_connection(self) -> Any:
        return self._connection_of(self._client, **self._address)

    def _connection_of(self, client: Any, **address: Any) -> Any:
        pool = client.connection_pool
        connection = connection_class(pool.connection_class)(**{**pool.connection_kwargs, **address})
        if self._tls is not None:  # a context of its own would read the system's certificates again, which takes long
            connection.ssl_context = self._tls
        self._made.add(connection)
        return connection

    def reset_after_fork(self) -> None:
        """In a child process: every connection is the parent's."""
        made, self._made = self._made, WeakSet()
        for connection in made:
            disown(connection)

    def connect(self) -> Any:
        """A new connection, within the caller's deadline."""
        connection = self._new_connection()
        connection.connect()
        return connection

    def read(self, connection: Any, command: str) -> Any:
        """The reply to a command, in the shape that redis-py gives it."""
        return self._client.parse_response(connection, command)

    def find(self) -> None:
        """Ask Sentinel for the master's address, for later connections. Raises RedisError when no Sentinel knows it."""
        if self._sentinel is not None:
            self._address = self._ask(self._sentinel)

    def moved(self) -> bool:
        """Does Sentinel name another master than the one in use? False also when no Sentinel answers."""
        if self._sentinel is not None:
            with suppress(RedisError, OSError):
                return self._ask(self._sentinel) != self._address
        return False

    def learn(self, error: BaseException) -> None:
        """Take the next address from a failure: the one that a cluster's node points to, else the URL's."""
        if self._sentinel is not None:
            return
        if isinstance(error, MovedError) and "path" not in self._client.connection_pool.connection_kwargs:
            host = {"host": error.host} if error.host else {}  # without one, the same host
            self._address = {**self._address, **host, "port": error.port}
        else:
            self._address = {}

    def _ask(self, place: SentinelPlace) -> dict[str, Any]:
        for host, port in place.hosts:
            with suppress(*FAILURES):  # the next Sentinel may know
                address = self._ask_one(place, host, port)
                return {"host": address[0], "port": int(address[1])}
        raise RedisConnectionError(f"no Sentinel of {len(place.hosts)} knows a master {place.master!r}")

    def _ask_one(self, place: SentinelPlace, host: str, port: int) -> Any:
        login: dict[str, Any] = {"username": place.sentinel_username, "password": place.sentinel_password}
        limit: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "decode_responses": True}
        client = Redis(host=host, port=port, ssl=place.tls, **login, **limit, **_options())
        sentinel = self._connection_of(client)
        try:
            with deadline(TIMEOUT_S):
                sentinel.connect()
                sentinel.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", place.master)
                return sentinel.read_response()
        finally:
            sentinel.disconnect(nowait=True)


class IdleConnections:
    """Keeps connections open between calls, MAX_IDLE at most."""

    def __init__(self, servers: RedisServers) -> None:
        self._servers = servers
        self._idle: deque[Any] = deque()

    def reset_after_fork(self) -> None:
        """In a child process: every connection is the parent's."""
        self._idle = deque()

    def exchange(self, name: str, packed: bytes) -> Any:
        """Send a command and read its reply. redis-py's own way around that would cost as much as a trade may."""
        idle = self._idle
        connection = self._connected(idle)
        answered = False
        try:
            connection.send_packed_command([packed], check_health=False)
            answer = self._servers.read(connection, name)
            answered = True
        except ResponseError:  # a reply as well
            answered = True
            raise
        finally:
            if answered and idle is self._idle and len(idle) < MAX_IDLE:
                idle.append(connection)
            else:
                connection.disconnect(nowait=True)
        return answer

    def _connected(self, idle: deque[Any]) -> Any:
        while idle:
            connection = idle.pop()
            with suppress(RedisError, OSError):  # the server has closed it
                if not connection.can_read():
                    return connection
            connection.disconnect(nowait=True)
        return self._servers.connect()

    def close(self) -> None:
        """Close the idle connections; one in use is closed when its call ends."""
        idle, self._idle = self._idle, deque()
        for connection in idle:
            with suppress(Exception):
                connection.disconnect(nowait=True)


def _options() -> dict[str, Any]:
    return {
        "socket_connect_timeout": TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
