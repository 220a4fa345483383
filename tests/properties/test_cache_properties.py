"""The cache never lies, whatever happens and in whatever order: see tests/support/cache_machine.py."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from nexgent_db.sync import _redis_servers
from tests.support.cache_machine import CacheMachine
from tests.support.cache_witness import World
from tests.support.valkey_server import valkey_server


def test_no_reader_is_told_less_than_was_acknowledged_and_maintenance_leaves_nothing_wrong(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_redis_servers, "TIMEOUT_S", 0.05)  # a server that hangs is waited for as often as it hangs
    with valkey_server() as valkey, World.of(fresh_database_url, valkey) as world:
        machine = type("Machine", (CacheMachine,), {"world": world})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=500, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
