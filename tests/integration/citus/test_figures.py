"""On a cell of Citus: the tests of tests/integration/aio/test_figures.py."""

from tests.integration.aio.test_figures import *
