"""On a cell of Citus: the tests of tests/integration/aio/test_agents.py."""

from tests.integration.aio.test_agents import *
