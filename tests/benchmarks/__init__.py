"""``make bench``: the cost of the data layer compared with bare psycopg and pgbench. Tests do not measure time."""
