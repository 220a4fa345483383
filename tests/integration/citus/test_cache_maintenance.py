"""On a cell of Citus: the tests of tests/integration/aio/test_cache_maintenance.py."""

from tests.integration.aio.test_cache_maintenance import *
