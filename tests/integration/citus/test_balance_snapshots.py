"""On a cell of Citus: the tests of tests/integration/aio/test_balance_snapshots.py."""

from tests.integration.aio.test_balance_snapshots import *
