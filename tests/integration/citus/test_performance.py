"""On a cell of Citus: the tests of tests/integration/aio/test_performance.py."""

from tests.integration.aio.test_performance import *
