"""On a cell of Citus: the tests of tests/integration/aio/test_lists.py."""

from tests.integration.aio.test_lists import *
