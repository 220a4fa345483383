"""A service's repositories are asynchronous or synchronous: each is used by databases of its own kind."""

from __future__ import annotations

import pytest

from nexgent_db import AsyncDatabase, Database, aio, sync
from nexgent_db.errors import InvalidInput


def test_repository_of_other_kind_is_refused(database_url: str) -> None:
    with pytest.raises(InvalidInput, match=r"a subclass of nexgent_db\.aio\.repositories\.base\.Repository expected"):
        AsyncDatabase(database_url).use(sync.Repository)  # type: ignore[type-var,arg-type]
    with pytest.raises(InvalidInput, match=r"a subclass of nexgent_db\.sync\.repositories\.base\.Repository expected"):
        Database(database_url).use(aio.Repository)  # type: ignore[type-var,arg-type]
