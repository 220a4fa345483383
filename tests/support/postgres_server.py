"""A PostgreSQL server that a test may stop, kill, start again and take back to an earlier state."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nexgent_db.embedded import postgres
from nexgent_db.embedded._lifetime import temporary_parent
from nexgent_db.migrations import Migrator


class PostgresServer:
    """One server with its files in ``directory``. Its URL stays the same whenever it is started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._data = directory / "postgres" / "data"
        self._running = ExitStack()
        self.url = ""

    def start(self) -> None:
        """Start, after a kill with crash recovery, and wait until it answers."""
        self.url = self._running.enter_context(postgres(self._directory, durable=False))

    def stop(self) -> None:
        """End it in order; nothing when it is not running."""
        self._running.close()

    def kill(self) -> None:
        """SIGKILL for the postmaster, and wait until its children have noticed and ended too."""
        os.kill(int((self._data / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
        self._running.close()

    def save(self) -> None:
        """Keep the state that :meth:`go_back` returns to. Only while it is stopped."""
        subprocess.run(["cp", "-a", self._data, self._saved], check=True)  # owners too: it may run as nobody

    def go_back(self) -> None:
        """Let the next start begin with the state that was saved: the same server, some time ago."""
        shutil.rmtree(self._data)
        self._saved.rename(self._data)

    @property
    def _saved(self) -> Path:
        return self._data.with_name("data.saved")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running and migrated server of the test's own, gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="nexgent-postgres-", dir=temporary_parent()))
    server = PostgresServer(directory)
    try:
        if os.geteuid() == 0:
            directory.chmod(0o711)  # it runs as nobody
        server.start()
        Migrator(server.url).migrate()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
