"""The schema and the queries as a DBA reads them: plans as steps, and everything on one page. Pure.

:func:`page` writes the whole as one HTML file that needs nothing else; a :class:`Subject` is what it is about.
"""

from nexgent_db.report._page import page
from nexgent_db.report._page_data import ShownPlan, ShownQuery, Subject
from nexgent_db.report._plan import Step, step_of

__all__ = ["ShownPlan", "ShownQuery", "Step", "Subject", "page", "step_of"]
