"""On a cell of Citus: the tests of tests/integration/aio/test_trade_requests.py."""

from tests.integration.aio.test_trade_requests import *
