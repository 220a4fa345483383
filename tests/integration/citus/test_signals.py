"""On a cell of Citus: the tests of tests/integration/aio/test_signals.py."""

from tests.integration.aio.test_signals import *
