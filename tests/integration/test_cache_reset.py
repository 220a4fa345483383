"""A process is stopped while it empties the cache, and continues after another process has emptied it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import psycopg

from nexgent_db import Database
from nexgent_db.settings import Settings
from tests.integration.sync.factories import new_owner
from tests.support.oracles.cache_oracle import differences, missing
from tests.support.servers.valkey_server import valkey_server
from tests.support.servers.valkey_topologies import wait_until

STOPS = """
import os, signal
from nexgent_db import Database

with Database.from_env() as db:
    cache_client = db.cache._client
    call = cache_client.call

    def stopping(*command, **options):
        answer = call(*command, **options)
        if command[0] == "SCAN":  # it knows what to delete
            os.kill(os.getpid(), signal.SIGSTOP)
        return answer

    cache_client.call = stopping
    print(cache_client.epoch.reset())
"""


def test_process_with_expired_lease_deletes_nothing_of_next_epoch(fresh_database_url: str) -> None:
    with valkey_server() as server:
        settings = replace(Settings.from_url(fresh_database_url), redis_url=server.url)
        with Database(settings) as db, server.client() as client:
            owner = new_owner(db)
            db.trades.deposit(owner.deposit("100"))
            db.trades.buy(owner.buy("1", "1000"))
            environment = {**os.environ, "DATABASE_URL": fresh_database_url, "REDIS_URL": server.url}
            command = [sys.executable, "-c", STOPS]
            with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
                try:
                    wait_until(lambda: _is_stopped(child), "it stops")
                    client.unlink("nexgent:epoch:resetter")  # its lease of five seconds has ended
                    db.cache.position(owner.agent_id)  # sees that another epoch has begun
                    while db.cache.metrics().state != "closed":
                        db.cache._recovery.recover()
                    db.cache.admin.warm()
                    position = db.trades.dca_buy(owner.dca_buy("1", "500")).position
                    assert position is not None
                    cached = set(client.scan_iter("nexgent:*"))
                    assert f"nexgent:position:{position.id}:fence" in cached
                finally:
                    child.send_signal(signal.SIGCONT)
                said, _ = child.communicate(timeout=30)
            assert (said, child.returncode) == ("False\n", 0)
            assert cached - set(client.scan_iter("nexgent:*")) == set()
            with psycopg.connect(fresh_database_url) as psql:
                assert (missing(client, psql, "nexgent:"), differences(client, psql, "nexgent:")) == ([], [])
            hits = db.cache.metrics().hits
            assert db.cache.position(position.id) == position
            assert db.cache.metrics().hits == hits + 1


def _is_stopped(child: subprocess.Popen[str]) -> bool:
    ended, status = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED)
    return ended != 0 and os.WIFSTOPPED(status)
