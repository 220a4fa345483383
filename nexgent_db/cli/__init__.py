"""The ``nexgent-db`` command."""

from nexgent_db.cli.app import main

__all__ = ["main"]
