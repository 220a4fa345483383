"""Builders of data and files for tests."""
