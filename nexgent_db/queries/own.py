"""``query`` for the repositories of services, whose type checkers have no settings of ours.

A type checker asks for a body of every method that is not abstract. The body of a query is its SQL, so to a type
checker it is an abstract method. A service hands its classes of repositories to ``use`` and never calls them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abc import abstractmethod as query
else:
    from nexgent_db.queries.binding import query

__all__ = ["query"]
