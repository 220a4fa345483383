"""What the queries do, told to hooks: ``AsyncDatabase(url, on_query=log_queries())``.

Ready hooks: :func:`log_queries` here; ``nexgent_db.observe.opentelemetry`` and ``nexgent_db.observe.prometheus``, each
an extra of the package and imported by nobody but its user. A hook of one's own is any function of a QueryEvent.
"""

from nexgent_db.observe._event import QueryEvent, QueryHook
from nexgent_db.observe._logging import log_queries

__all__ = ["QueryEvent", "QueryHook", "log_queries"]
