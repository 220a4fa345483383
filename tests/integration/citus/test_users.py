"""On a cell of Citus: the tests of tests/integration/aio/test_users.py."""

from tests.integration.aio.test_users import *
