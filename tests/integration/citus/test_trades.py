"""On a cell of Citus: the tests of tests/integration/aio/test_trades.py."""

from tests.integration.aio.test_trades import *
