"""On a cell of Citus: the tests of tests/integration/aio/test_record_prices.py."""

from tests.integration.aio.test_record_prices import *
