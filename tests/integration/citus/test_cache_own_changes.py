"""On a cell of Citus: the tests of tests/integration/aio/test_cache_own_changes.py."""

from tests.integration.aio.test_cache_own_changes import *
