"""Reports queries to hooks: ``AsyncDatabase(url, on_query=log_queries())``.

Ready hooks: :func:`log_queries` here; ``nexgent_db.observe.opentelemetry`` and ``nexgent_db.observe.prometheus``, each
needs an extra and is imported only by its user. Any function of a QueryEvent is a hook.
"""

from nexgent_db.observe._event import QueryEvent, QueryHook
from nexgent_db.observe._logging import log_queries

__all__ = ["QueryEvent", "QueryHook", "log_queries"]
