"""The applied migrations, as a service reads them when it starts."""

from __future__ import annotations

from nexgent_db.models.base import Row


class AppliedMigration(Row):
    """An applied migration, and the SHA-256 of the applied text, None when it is not recorded."""

    name: str
    checksum: str | None
