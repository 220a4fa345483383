"""On a cell of Citus: the tests of tests/integration/aio/test_sales_up_to_dust.py."""

from tests.integration.aio.test_sales_up_to_dust import *
