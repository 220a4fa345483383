"""What a service asks of the migrations when it starts."""

from __future__ import annotations

from nexgent_db.models._base import Row


class AppliedMigration(Row):
    """A migration that the database has, and the SHA-256 of the text that was applied; None: nobody recorded it."""

    name: str
    checksum: str | None
