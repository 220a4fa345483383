"""``nexgent-db serve``: the embedded servers run while it does."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests.integration.test_cli import nexgent_db


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory for the servers, which the user ``nobody`` can reach when root runs the test."""
    home = Path(tempfile.mkdtemp(prefix="nexgent-serve-"))
    home.chmod(0o711)
    yield home
    shutil.rmtree(home)


def started(home: Path, *options: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return subprocess.Popen(
        [sys.executable, "-m", "nexgent_db.cli", "serve", *options],
        env=clean | {"NEXGENT_DB_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(database_url: str, redis_url: str) -> None:
    """Both servers do."""
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_servers_are_up_until_the_signal(home: Path, ending: signal.Signals) -> None:
    with started(home) as serving:
        assert serving.stdout is not None
        urls = dict(shlex.split(serving.stdout.readline())[0].split("=", 1) for _ in range(2))
        answer(urls["DATABASE_URL"], urls["REDIS_URL"])
        serving.send_signal(ending)
        out, err = serving.communicate(timeout=90)
    assert (serving.returncode, out, err) == (0, "", "serving until Ctrl-C\n")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(urls["DATABASE_URL"])


def test_signal_while_they_start_leaves_none_behind(home: Path) -> None:
    with started(home) as serving:
        while not (home / "postgres" / "server.lock").exists():
            time.sleep(0.01)
        serving.terminate()
        assert serving.wait(90) == 0
    deadline = time.monotonic() + 90
    while (home / "postgres" / "run" / ".s.PGSQL.5432").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_json_and_limited_time(home: Path) -> None:
    with started(home, "--for", "1", "--json") as serving:
        assert serving.stdout is not None
        printed = json.loads(serving.stdout.readline())
        answer(printed["database_url"], printed["redis_url"])
        out, err = serving.communicate(timeout=90)
    assert (serving.returncode, out, err) == (0, "", "")
    assert printed.keys() == {"database_url", "redis_url", "error"}
    assert printed["error"] is None


def test_unusable_home_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = nexgent_db("serve", "--json", NEXGENT_DB_HOME=str(tmp_path / "file"))
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "embedded_server_error"
    assert done.stderr.startswith("nexgent-db: cannot keep a server in ")


@pytest.mark.parametrize("seconds", ["-1", "nan", "soon"])
def test_senseless_time_is_wrong_usage(seconds: str) -> None:
    assert nexgent_db("serve", "--for", seconds).returncode == 2
