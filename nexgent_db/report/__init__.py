"""The schema and the queries for a reader: plans in words, and one page of everything."""

from nexgent_db.report._plan import Step, step_of

__all__ = ["Step", "step_of"]
