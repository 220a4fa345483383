"""On a cell of Citus: the tests of tests/integration/aio/test_cache_after_commit.py."""

from tests.integration.aio.test_cache_after_commit import *
