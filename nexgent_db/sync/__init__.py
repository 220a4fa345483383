# Generated from nexgent_db/aio/__init__.py by `make sync`: do not edit.
"""The synchronous data layer. ``make sync`` writes ``nexgent_db/sync`` from ``nexgent_db/aio``."""
