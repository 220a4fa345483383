"""On a cell of Citus: the tests of tests/integration/aio/test_wallet_address.py."""

from tests.integration.aio.test_wallet_address import *
