# Generated from nexgent_db/aio/repositories/__init__.py by `make sync`: do not edit.
"""One repository for each file of named queries, under the same name."""
