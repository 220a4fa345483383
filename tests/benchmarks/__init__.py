"""What the data layer costs beside bare psycopg and pgbench: ``make bench``. Timings stay out of the tests."""
