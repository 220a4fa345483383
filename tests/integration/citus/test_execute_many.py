"""On a cell of Citus: the tests of tests/integration/aio/test_execute_many.py."""

from tests.integration.aio.test_execute_many import *
