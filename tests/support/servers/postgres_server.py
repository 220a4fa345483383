"""A PostgreSQL server that a test may stop, kill, start again, reconfigure and take back to an earlier state."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq, sql

from nexgent_db.embedded import postgres
from nexgent_db.embedded._lifetime import Home, shared_server, temporary_parent
from nexgent_db.embedded._servers import _plan_postgres
from nexgent_db.migrations import Migrator

_WAIT_S = 60


class PostgresServer:
    """One server with its files in ``directory``. Its URL stays the same whenever it is started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "postgres" / "data"
        self._running = ExitStack()
        self.url = ""

    def start(self) -> None:
        """Start, after a kill with crash recovery, and wait until it answers."""
        self.url = self._running.enter_context(postgres(self.directory, durable=False))

    def start_refusing(self) -> None:
        """Start a server that is not going to accept connections, and wait until it says so. Its data must exist."""
        home = Home(self.directory / "postgres", ".s.PGSQL.5432")
        self.url = f"postgresql://postgres@/postgres?host={home.sockets}&port=5432"

        def plan(home: Home) -> Any:
            return _plan_postgres(home, durable=False)

        def refuses(home: Home) -> bool:
            return home.socket.exists() and self.ping() is pq.Ping.REJECT

        self._running.enter_context(shared_server(home, plan, refuses))

    def stop(self) -> None:
        """End it in order; nothing when it is not running."""
        self._running.close()

    def begin_stopping(self) -> None:
        """Smart shutdown: new connections are refused, and it ends with the last session. ``stop`` ends those too."""
        os.kill(self.pid, signal.SIGTERM)
        self.wait_for(pq.Ping.REJECT)

    def kill(self) -> None:
        """SIGKILL for the postmaster, and wait until its children have noticed and ended too."""
        os.kill(self.pid, signal.SIGKILL)
        self._running.close()

    def stop_at_once(self) -> None:
        """Immediate shutdown: every session ends where it is, and the next start recovers."""
        os.kill(self.pid, signal.SIGQUIT)
        self.wait_for_end()
        self._running.close()

    def wait_for_end(self) -> None:
        """Wait until it has ended by itself; its files stay. Raises TimeoutError after a minute."""
        pid, deadline = self.pid, time.monotonic() + _WAIT_S
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.kill(pid, 0)
                time.sleep(0.01)
            raise TimeoutError(f"the server has not ended after {_WAIT_S} s")

    @property
    def pid(self) -> int:
        """The postmaster's, while it runs."""
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def children(self) -> list[int]:
        """The processes of the postmaster, while it runs."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def ping(self) -> pq.Ping:
        """Whether it accepts connections (OK), refuses them for now (REJECT), or does not answer (NO_RESPONSE)."""
        return pq.Ping(pq.PGconn.ping(f"{self.url}&connect_timeout=5".encode()))

    def wait_for(self, state: pq.Ping) -> None:
        """Wait until ``ping`` says so. Raises TimeoutError after a minute."""
        deadline = time.monotonic() + _WAIT_S
        while (found := self.ping()) is not state:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server answers {found.name}, not {state.name}, after {_WAIT_S} s")
            time.sleep(0.01)

    def configure(self, **settings: str) -> None:
        """Set what a reload applies, such as ``default_transaction_read_only="on"``, and wait for new sessions.

        It also applies to the open sessions: from their next statement on.
        """
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value))
            connection.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + _WAIT_S
        while not self._applied(settings):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{settings} are not applied after {_WAIT_S} s: do they need a restart?")
            time.sleep(0.01)

    def _applied(self, settings: dict[str, str]) -> bool:
        query = "SELECT every(setting = (%s::jsonb)->>name) FROM pg_settings WHERE (%s::jsonb) ? name"
        with psycopg.connect(self.url) as connection:
            wanted = psycopg.types.json.Jsonb(settings)
            return connection.execute(query, [wanted, wanted]).fetchone() == (True,)

    def configure_next_start(self, **settings: str) -> None:
        """Set what the next start reads, such as ``max_connections="5"``; later than what was set before."""
        with (self.data / "postgresql.auto.conf").open("a") as file:
            for name, value in settings.items():
                quoted = value.replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")

    def set_read_only(self, read_only: bool) -> None:
        """Make every new transaction read-only that does not say otherwise, as operators do; or end that."""
        self.configure(default_transaction_read_only="on" if read_only else "off")

    def save(self) -> None:
        """Keep the state that :meth:`go_back` returns to. Only while it is stopped."""
        subprocess.run(["cp", "-a", self.data, self._saved], check=True)  # owners too: it may run as nobody

    def go_back(self) -> None:
        """Let the next start begin with the state that was saved: the same server, some time ago."""
        shutil.rmtree(self.data)
        self._saved.rename(self.data)

    @property
    def _saved(self) -> Path:
        return self.data.with_name("data.saved")


@contextmanager
def server_directory(parent: Path | None = None) -> Iterator[Path]:
    """A directory for one server that its account can enter, gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="nexgent-postgres-", dir=parent or temporary_parent()))
    try:
        if os.geteuid() == 0:
            directory.chmod(0o711)  # it runs as nobody
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def postgres_server(parent: Path | None = None, *, migrated: bool = True) -> Iterator[PostgresServer]:
    """A running server of the test's own, gone afterwards; ``parent`` is where its files are to lie."""
    with server_directory(parent) as directory, contextlib.ExitStack() as stack:
        server = PostgresServer(directory)
        stack.callback(server.stop)
        server.start()
        if migrated:
            Migrator(server.url).migrate()
        yield server
