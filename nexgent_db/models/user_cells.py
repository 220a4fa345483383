"""The directory of cells: which schema has the rows of which user."""

from __future__ import annotations

from nexgent_db.models.base import UUID, AwareDatetime, Row


class UserCell(Row):
    """A user, and the cell that has the user's rows."""

    user_id: UUID
    cell: str
    updated_at: AwareDatetime


class CellUsers(Row):
    """A cell, and how many users the directory sends to it."""

    cell: str
    users: int
