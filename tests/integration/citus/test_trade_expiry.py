"""On a cell of Citus: the tests of tests/integration/aio/test_trade_expiry.py."""

from tests.integration.aio.test_trade_expiry import *
