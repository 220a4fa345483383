from __future__ import annotations
from collections.abc import Iterator
from contextlib import ExitStack
import pytest
from tests.integration.aio.test_replicas import *
from tests.support.servers.pgbouncer import pools_go_through

@pytest.fixture(scope="module", autouse=True)
def poolers(servers: Servers) -> Iterator[None]:
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(pools_go_through(server.url))
        yield
