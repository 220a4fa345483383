"""A Valkey server that a test can stop, kill, hang, fill up and start again."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis

from nexgent_db.embedded._binaries import valkey_program

_START_S: Final = 20.0


class ValkeyServer:
    """One server on a unix socket in ``directory``. Nothing is saved unless :meth:`save` is called.

    :meth:`start` reads the saved data. Signals go only to the process that this object started. ``options`` are
    further options of the program, such as ``--port``; of two with one name the last counts.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = directory / "valkey.sock"
        self.url = f"unix://{quote(str(self.socket))}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        assert self._process is None
        self._process = subprocess.Popen(
            [
                valkey_program(),
                *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._directory)),
                *("--save", "", "--appendonly", "no", "--daemonize", "no"),
                *("--enable-debug-command", "yes"),
                *self._options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert self._process.poll() is None, "the server ended at once"
            assert time.monotonic() < deadline, "the server did not answer in time"
            time.sleep(0.01)

    def save(self) -> None:
        """Write everything to disk: the state that the next start begins with."""
        with self.client() as client:
            client.save()

    def forget_saved(self) -> None:
        """Let the next start begin with nothing."""
        (self._directory / "dump.rdb").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it in order; nothing when it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL; nothing when it is not running."""
        self._end(signal.SIGKILL)

    def hang(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Send SIGCONT: the server now executes the commands that it received while it was stopped."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Hang until the ``with`` ends."""
        self.hang()
        try:
            yield
        finally:
            self.wake()

    @contextmanager
    def configured(self, name: str, value: str) -> Iterator[None]:
        """Apply a setting, such as ``maxmemory 1``, until the ``with`` ends."""
        with self.client() as client:
            before = client.config_get(name)[name]
            client.config_set(name, value)
            try:
                yield
            finally:
                client.config_set(name, before)

    def client(self) -> redis.Redis:
        """A client of the test itself, to read and to change data."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.AuthenticationError:  # it wants a password first
            return True
        except redis.RedisError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)  # a hanging one would not hear SIGTERM
            process.send_signal(number)
            process.wait(_START_S)
            self.socket.unlink(missing_ok=True)


@contextmanager
def valkey_server(*options: str) -> Iterator[ValkeyServer]:
    """A running server of the test's own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="nexgent-valkey-", dir="/tmp") as directory:
        server = ValkeyServer(Path(directory), *options)
        try:
            server.start()
            yield server
        finally:
            server.kill()
