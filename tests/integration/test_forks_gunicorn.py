"""gunicorn --preload: workers forked from a process with an open database are recycled, killed and stopped."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from nexgent_db import Database
from tests.integration.sync.factories import Owner, new_owner
from tests.support.faults.forking import STUCK_S, Sessions
from tests.support.servers.valkey_server import ValkeyServer

WORKERS: Final = 2
POOL: Final = 2
CLIENTS: Final = 4
REQUESTS: Final = 2400
RECYCLED_AFTER: Final = 400
"""Requests after which a worker ends in order, and another is forked."""
KILLS: Final = 2
_CHECKOUT: Final = Path(__file__).resolve().parents[2]


@dataclass
class Service:
    """The running master and its address."""

    process: subprocess.Popen[str]
    address: tuple[str, int]
    sessions: Sessions
    masters: list[int]
    """The master's backends, as they were before a worker was asked anything."""


@dataclass
class Clients:
    """The answers that the clients got."""

    pids: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    again: int = 0
    """Requests repeated because their worker was killed."""


@contextmanager
def gunicorn(url: str, environment: dict[str, str], log: Path) -> Iterator[Service]:
    """Master and workers, all ended afterwards."""
    name = f"gunicorn-{uuid4().hex}"
    sessions = Sessions(url, name)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, log.open("w") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--preload", "--workers", str(WORKERS)),
                *("--bind", f"fd://{listener.fileno()}", "--worker-tmp-dir", str(log.parent), "--no-control-socket"),
                *("--max-requests", str(RECYCLED_AFTER), "--max-requests-jitter", "50"),
                "tests.support.servers.preloaded_app:application",
            ],
            cwd=_CHECKOUT,
            env={**os.environ, "DATABASE_URL": make_conninfo(url, application_name=name), **environment},
            pass_fds=[listener.fileno()],
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
        try:
            masters = sessions.pids_when(lambda pids: len(pids) == POOL)
            yield Service(process, listener.getsockname(), sessions, masters)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _ask(address: tuple[str, int], method: str, path: str, body: str | None = None) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(*address, timeout=STUCK_S)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def _request(address: tuple[str, int], owner: Owner, chance: random.Random, clients: Clients) -> None:
    """One row, or one deposit, asked for until it is answered: a killed worker closes the connection."""
    order = owner.deposit("1") if chance.random() < 0.3 else None
    while True:
        try:
            if order is None:
                status, answer = _ask(address, "GET", f"/user/{owner.user_id}")
            else:
                status, answer = _ask(address, "POST", "/deposit", order.model_dump_json())
        except (ConnectionError, http.client.HTTPException):
            clients.again += 1
            assert clients.again < REQUESTS
            continue
        break
    clients.pids[answer["pid"]] += 1
    wanted = str(owner.user_id if order is None else order.trade_id)
    if status != 200 or answer["id"] != wanted or answer.get("wallet", owner.wallet_address) != owner.wallet_address:
        clients.wrong.append(f"{wanted}: {status} {answer}")
    if order is not None:
        clients.acknowledged.append(wanted)


@pytest.mark.parametrize("cache", ["no cache", "local"])
def test_preloaded_workers_answer_every_request_with_its_own_row(
    database_url: str, request: pytest.FixtureRequest, tmp_path: Path, cache: str
) -> None:
    environment = {"NEXGENT_DB_POOL_MIN_SIZE": str(POOL), "NEXGENT_DB_POOL_MAX_SIZE": str(POOL)}
    if cache == "local":
        server: ValkeyServer = request.getfixturevalue("server")
        environment |= {"REDIS_URL": server.url, "NEXGENT_DB_LOCAL_CACHE_ROWS": "100"}
    with Database(database_url) as db:
        owners = [new_owner(db) for _ in range(CLIENTS)]
    log = tmp_path / "gunicorn.log"
    clients = Clients()
    with gunicorn(database_url, environment, log) as service:
        assert len(service.masters) == POOL, log.read_text()
        threads = [
            threading.Thread(target=_ask_again_and_again, args=(service.address, owner, number, clients))
            for number, owner in enumerate(owners)
        ]
        for thread in threads:
            thread.start()
        _kill_workers(service, clients, threads)
        for thread in threads:
            thread.join()
        assert clients.wrong == [], log.read_text()
        assert sum(clients.pids.values()) == REQUESTS
        assert len(clients.pids) >= WORKERS + KILLS + 2  # killed, recycled, and forked again
        assert set(service.masters) <= set(service.sessions.pids())
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(STUCK_S) == 0, log.read_text()
        assert service.sessions.pids_when(lambda pids: not pids) == []
    with psycopg.connect(database_url) as connection:
        stored = connection.execute(
            "SELECT count(*) FROM agent_transactions WHERE id = ANY(%s::uuid[])", [clients.acknowledged]
        ).fetchone()
    assert stored == (len(clients.acknowledged),)
    assert len(set(clients.acknowledged)) == len(clients.acknowledged) > 0


def _ask_again_and_again(address: tuple[str, int], owner: Owner, number: int, clients: Clients) -> None:
    chance = random.Random(number)
    try:
        for _ in range(REQUESTS // CLIENTS):
            _request(address, owner, chance, clients)
    except Exception as error:
        clients.wrong.append(f"client {number}: {error!r}")


def _kill_workers(service: Service, clients: Clients, threads: list[threading.Thread]) -> None:
    """SIGKILL for a worker, each time when many more requests were answered."""
    for kill in range(1, KILLS + 1):
        due = kill * REQUESTS // (2 * KILLS + 2)
        until = time.monotonic() + 4 * STUCK_S
        while sum(clients.pids.values()) < due and any(thread.is_alive() for thread in threads):
            assert time.monotonic() < until, "the clients do not get on"
            time.sleep(0.01)
        psutil.Process(service.process.pid).children()[0].kill()
