# Generated from tests/integration/aio/__init__.py by `make sync`: do not edit.
"""Tests of the synchronous layer. ``make sync`` writes ``tests/integration/sync`` from ``tests/integration/aio``."""
