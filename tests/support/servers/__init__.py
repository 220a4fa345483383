"""Servers that tests start, stop and reconfigure."""
