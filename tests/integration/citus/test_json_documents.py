"""On a cell of Citus: the tests of tests/integration/aio/test_json_documents.py."""

from tests.integration.aio.test_json_documents import *
