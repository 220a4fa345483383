"""On a cell of Citus: the tests of tests/integration/aio/test_administration.py."""

from tests.integration.aio.test_administration import *
