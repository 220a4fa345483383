"""Calls interrupted at every place, one after another: the next call works, and no trade is lost."""

from __future__ import annotations

import pytest

from tests.chaos.accounting import Place
from tests.chaos.places import (
    ALL_CODE,
    ASYNC_CALLS,
    SITUATIONS,
    SYNC_CALLS,
    Findings,
    cancel_everywhere,
    signal_everywhere,
)
from tests.support.faults.signal_points import Interrupted, Stopped
from tests.support.servers.roles import RoledDatabase
from tests.support.servers.valkey_server import ValkeyServer


@pytest.fixture
def findings(request: pytest.FixtureRequest, roled: RoledDatabase, server: ValkeyServer) -> Findings:
    place = Place(roled.url, roled.url_of("app"), server.url)
    name = request.node.name.partition("[")[2]
    return Findings(place, f"{'task' if 'task' in request.node.name else 'thread'} [{name}")


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("call", ASYNC_CALLS)
async def test_task_cancelled_at_any_wait_leaves_connection_usable(
    findings: Findings, call: str, situation: str
) -> None:
    await cancel_everywhere(findings, "plain", call, situation)


@pytest.mark.parametrize("situation", ["idle", "held"])
@pytest.mark.parametrize("call", ["call", "pipeline", "stream"])
@pytest.mark.parametrize("use", ["tenant", "cached"])
async def test_task_cancelled_with_tenant_or_cache_leaves_connection_usable(
    findings: Findings, use: str, call: str, situation: str
) -> None:
    await cancel_everywhere(findings, use, call, situation)


@pytest.mark.parametrize("raises", [Interrupted, Stopped])
@pytest.mark.parametrize("call", SYNC_CALLS)
def test_thread_signalled_in_our_code_leaves_connection_usable(
    findings: Findings, call: str, raises: type[BaseException]
) -> None:
    signal_everywhere(findings, "plain", call, "idle", raises=raises)


@pytest.mark.parametrize(
    ("use", "situation"), [("plain", "held"), ("plain", "dead"), ("tenant", "idle"), ("cached", "idle")]
)
def test_thread_signalled_in_call_leaves_connection_usable(findings: Findings, use: str, situation: str) -> None:
    signal_everywhere(findings, use, "call", situation)


@pytest.mark.parametrize("call", SYNC_CALLS)
def test_thread_signalled_in_driver_leaves_connection_usable(findings: Findings, call: str) -> None:
    signal_everywhere(findings, "plain", call, "idle", code=ALL_CODE, stride=11)


def test_exception_held_by_caller_keeps_no_connection(findings: Findings) -> None:
    signal_everywhere(findings, "plain", "call", "idle", keep=True)
