"""Tests of the asynchronous layer. ``make sync`` writes ``tests/integration/sync`` from ``tests/integration/aio``."""
