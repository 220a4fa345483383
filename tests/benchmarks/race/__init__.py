"""``make race``: this package beside other clients of PostgreSQL, in one interleaved run on one server."""
