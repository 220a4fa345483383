"""The cache never lies, whatever happens and in whatever order: see tests/support/oracles/cache_state_machine.py."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from nexgent_db.sync.cache import servers
from tests.support.oracles.cache_model import World
from tests.support.oracles.cache_state_machine import CacheStateMachine
from tests.support.servers.valkey_server import valkey_server


def test_random_work_and_faults_never_give_stale_reads(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "TIMEOUT_S", 0.05)  # a server that hangs is waited for as often as it hangs
    with valkey_server() as valkey, World.of(fresh_database_url, valkey) as world:
        machine = type("Machine", (CacheStateMachine,), {"world": world})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=500, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
