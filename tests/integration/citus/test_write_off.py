"""On a cell of Citus: the tests of tests/integration/aio/test_write_off.py."""

from tests.integration.aio.test_write_off import *
