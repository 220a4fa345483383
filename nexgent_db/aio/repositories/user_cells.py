"""The directory of cells: ``sql/user_cells.sql``."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.models.base import CellName, Limit
from nexgent_db.models.user_cells import CellUsers, UserCell
from nexgent_db.queries.binding import query

_FIRST: Final = UUID(int=0)


class UserCellRepository(Repository, sql="user_cells"):
    """Which cell has the rows of which user: ``db.for_schema(found.cell)`` serves them.

    For the database that the service connects to; a cell's own directory is empty.
    """

    @query
    async def find_by_user_id(self, user_id: UUID) -> UserCell | None:
        """The user's cell; None for a user who was given none."""
        ...

    @query
    async def create(self, user_id: UUID, cell: CellName) -> UserCell:
        """Give a user this cell. A user who has a cell keeps it, and it is returned: two callers at once get the same.

        Whether there is such a cell is not asked. Give it before the user is created in it: a crash in between then
        leaves a directory entry without a user, and no user without an entry.
        """
        ...

    @query
    async def update(self, user_id: UUID, from_cell: CellName, to_cell: CellName) -> UserCell | None:
        """Send the user to another cell; None, and nothing changed, when the user is not in ``from_cell``."""
        ...

    @query
    async def delete(self, user_id: UUID, cell: CellName) -> int:
        """Remove the user from the directory, if the user is in this cell; returns 1, else 0."""
        ...

    @query
    async def list_by_cell(self, cell: CellName, limit: Limit, after: UUID = _FIRST) -> list[UserCell]:
        """The users of a cell by id, after ``after``, at most ``limit``."""
        ...

    @query
    async def count_per_cell(self, limit: Limit) -> list[CellUsers]:
        """How many users each cell has, by name, at most ``limit`` cells; those without users are left out."""
        ...
