"""Tests of nexgent-db: on real PostgreSQL and Valkey servers, started by the fixtures."""
