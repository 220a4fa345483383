"""Sockets to Redis: no operation outlasts the deadline of its thread, no reply is longer than MAX_REPLY_BYTES, and a
forked process uses none of its parent's.

Tasks have asyncio's timeouts, which end every wait; only the closing is overridden, so that it never waits for the
server. redis-py's timeouts for threads start again with each byte, so two parts of its connections are overridden: the
connecting, and the socket.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio.connection import RedisSSLContext
from redis.asyncio.connection import SSLConnection as AsyncSSLConnection
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from nexgent_db._concurrency import keep_for_ever, remaining_s, replace_inherited_socket

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
"""A longer reply is no answer of this cache: a set has 10,000 rows of some 3 kB at most."""

_CLASSES: Final[dict[type[Any], type[Any]]] = {}
_ASYNC_CLASSES: Final[dict[type[Any], type[Any]]] = {}


def async_connection_class(base: type[Any]) -> type[Any]:
    """redis-py's connections for tasks, with bounded replies; those over TLS are closed at once."""
    if base not in _ASYNC_CLASSES:
        parts = (
            (_ClosedAtOnce, _BoundedReplies, base) if issubclass(base, AsyncSSLConnection) else (_BoundedReplies, base)
        )
        _ASYNC_CLASSES[base] = type(base.__name__, parts, {})
    return _ASYNC_CLASSES[base]


class _BoundedReplies:
    """Counts what the server sends since the last command."""

    _reader: Any

    async def _connect(self) -> None:
        await super()._connect()  # type: ignore[misc]
        self._reader = _BoundedReader(self._reader)

    async def send_packed_command(self, *command: Any, **options: Any) -> None:
        if self._reader is not None:  # else this connects
            self._reader.received = 0
        await super().send_packed_command(*command, **options)  # type: ignore[misc]


class _BoundedReader:
    """A stream's reader. Raises ConnectionError beyond MAX_REPLY_BYTES."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._buffer = inner._buffer  # redis-py looks for unread bytes in it
        self.at_eof = inner.at_eof
        self.received = 0

    async def read(self, size: int) -> bytes:
        """As a reader's."""
        data: bytes = await self._inner.read(size)
        self.received = _counted(self.received, len(data))
        return data


def _counted(received: int, more: int) -> int:
    if received + more > MAX_REPLY_BYTES:
        raise RedisConnectionError(f"the reply is longer than {MAX_REPLY_BYTES:,} bytes")
    return received + more


class _ClosedAtOnce:
    """Aborts the transport: over TLS, a closing one stays open until the server says goodbye, which one that hangs does
    not."""

    _writer: Any

    async def disconnect(self, *options: Any, **named_options: Any) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        await super().disconnect(*options, **named_options)  # type: ignore[misc]


def connection_class(base: type[Any]) -> type[Any]:
    """redis-py's connections for threads, within the deadline of the thread that uses them."""
    if base not in _CLASSES:
        parts = (_SharedTls, _InTime, base) if issubclass(base, SSLConnection) else (_InTime, base)
        _CLASSES[base] = type(base.__name__, parts, {})
    return _CLASSES[base]


class _InTime:
    """Connects, reads and writes in time."""

    socket_connect_timeout: float
    socket_timeout: float
    port: int | None = None
    """redis-py reads it for its error messages, also for a unix socket."""

    def _connect(self) -> BoundedSocket:
        connect: Callable[[], Any] = super()._connect  # type: ignore[misc]
        timeouts = self.socket_connect_timeout, self.socket_timeout
        self.socket_connect_timeout = self.socket_timeout = seconds = remaining_s(timeouts[0])
        try:
            # Name resolution may be slow and return several addresses; TLS needs a handshake.
            local = isinstance(self, UnixDomainSocketConnection)
            made = connect() if local else _Attempt(connect).result(seconds)
        finally:
            self.socket_connect_timeout, self.socket_timeout = timeouts
        return BoundedSocket(made, timeouts[1])


class _SharedTls:
    """Shares the certificates between connections, as those for tasks do: to read them takes 40 ms."""

    host: str

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        given: Any = self
        self._online = given.ssl_validate_ocsp or given.ssl_validate_ocsp_stapled
        self.ssl_context = RedisSSLContext(
            keyfile=given.keyfile,
            certfile=given.certfile,
            cert_reqs=given.cert_reqs,
            include_verify_flags=given.ssl_include_verify_flags,
            exclude_verify_flags=given.ssl_exclude_verify_flags,
            ca_certs=given.ca_certs,
            ca_data=given.ca_data,
            ca_path=given.ca_path,
            check_hostname=given.check_hostname,
            min_version=given.ssl_min_version,
            ciphers=given.ssl_ciphers,
            password=given.certificate_password,
        )

    def _wrap_socket_with_ssl(self, plain: Any) -> Any:
        if self._online:  # OCSP: redis-py also asks for the certificate's state
            return super()._wrap_socket_with_ssl(plain)  # type: ignore[misc]
        return self.ssl_context.get().wrap_socket(plain, server_hostname=self.host)


class _Attempt:
    """Connects in a thread of its own. After the timeout the caller goes on, and the thread closes its late socket."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._given_up = False
        self._made: Any = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="nexgent-db connecting", daemon=True).start()

    def result(self, seconds: float) -> Any:
        """The socket. Raises what connecting raises, and TimeoutError."""
        taken = False
        try:
            if not self._over.wait(seconds):
                raise TimeoutError("connecting took too long")
            if self._error is not None:
                raise self._error
            taken = True
            return self._made
        finally:
            if not taken:
                self._give_up()

    def _give_up(self) -> None:
        with self._lock:
            self._given_up = True
        if self._made is not None:
            self._made.close()

    def _run(self) -> None:
        made = None
        try:
            made = self._connect()
        except BaseException as error:
            self._error = error
        with self._lock:
            self._made = made
        self._over.set()
        if self._given_up and made is not None:
            made.close()


class BoundedSocket:
    """A socket whose steps take ``step_s`` seconds at most each, and together no more than the thread's deadline.

    It receives MAX_REPLY_BYTES at most after each command.
    """

    def __init__(self, inner: Any, step_s: float) -> None:
        self._inner = inner
        self._step_s = step_s
        self._received = 0
        self.fileno, self.shutdown, self.close = inner.fileno, inner.shutdown, inner.close
        self.recv = inner.recv  # of what is there
        if hasattr(inner, "pending"):  # over TLS
            self.pending = inner.pending

    def settimeout(self, step_s: float) -> None:
        """Set the limit of each later step."""
        self._step_s = step_s

    def recv_into(self, buffer: Any) -> int:
        """As a socket's. Raises TimeoutError, and ConnectionError for too long a reply."""
        inner = self._inner
        inner.settimeout(remaining_s(self._step_s))
        received: int = inner.recv_into(buffer)
        self._received = _counted(self._received, received)
        return received

    def sendall(self, data: bytes) -> None:
        """As a socket's, within the deadline over all steps. Raises TimeoutError."""
        inner = self._inner
        self._received = 0
        inner.settimeout(remaining_s(self._step_s))
        sent = inner.send(data)
        while sent < len(data):
            inner.settimeout(remaining_s(self._step_s))
            sent += inner.send(memoryview(data)[sent:])


# --- After a fork ---------------------------------------------------------------------------------


def async_disown(connection: Any) -> None:
    """In a child process: leave a connection to the parent, and keep it: its end would reach into the parent's loop."""
    writer = connection._writer
    if writer is not None and not writer.transport.is_closing():
        _replace(writer.get_extra_info("socket"))
    keep_for_ever(connection)


def disown(connection: Any) -> None:
    """In a child process: leave a connection to the parent."""
    _replace(connection._sock)


def _replace(inherited: Any) -> None:
    if inherited is not None and (descriptor := inherited.fileno()) >= 0:
        replace_inherited_socket(descriptor)
