"""Planted bugs that cost money, each with the test that must catch it. ``python -m tests.mutations`` proves it."""
