"""On a cell of Citus: the tests of tests/integration/aio/test_repositories.py."""

from tests.integration.aio.test_repositories import *
