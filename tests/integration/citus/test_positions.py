"""On a cell of Citus: the tests of tests/integration/aio/test_positions.py."""

from tests.integration.aio.test_positions import *
