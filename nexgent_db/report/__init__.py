"""Shows the schema and the queries to a DBA: plans as steps, and everything on one page. Pure.

:func:`page` writes a :class:`Subject` as one HTML file that needs no other file.
"""

from nexgent_db.report._page import page
from nexgent_db.report._page_data import ShownPlan, ShownQuery, Subject
from nexgent_db.report._plan import Step, step_of

__all__ = ["ShownPlan", "ShownQuery", "Step", "Subject", "page", "step_of"]
