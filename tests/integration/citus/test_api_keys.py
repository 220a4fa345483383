"""On a cell of Citus: the tests of tests/integration/aio/test_api_keys.py."""

from tests.integration.aio.test_api_keys import *
