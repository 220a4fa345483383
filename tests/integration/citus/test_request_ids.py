"""On a cell of Citus: the tests of tests/integration/aio/test_request_ids.py."""

from tests.integration.aio.test_request_ids import *
