"""On a cell of Citus: the tests of tests/integration/aio/test_cache.py."""

from tests.integration.aio.test_cache import *
