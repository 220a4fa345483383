"""Proves every named query against a real PostgreSQL: ``nexgent-db check``.

:func:`all_sources` lists the queries, :func:`check` proves them on a migrated database, :func:`explain` looks at their
plans; :func:`render` and :func:`compare` write and compare the committed contract; :func:`check_older` holds another
revision's queries against this schema.

A numeric column without precision and scale (an expression) is accepted for ``Exact(p, s)`` when its decimals can be
told and are not more than ``s``; whole digits are not looked at.
"""

from nexgent_db.contract._catalog import read_catalog
from nexgent_db.contract._check import check
from nexgent_db.contract._checked import CheckedColumn, CheckedQuery, CheckedVariant, Report
from nexgent_db.contract._described import Argument, NamedQuery, Result, described
from nexgent_db.contract._file import compare, compare_offline, contract_path, read, render
from nexgent_db.contract._older import check_older
from nexgent_db.contract._plans import Explained, Plan, Plans, explain, indexes_of, nodes, plan_of, seed, types_sent
from nexgent_db.contract._problem import Problem, shown_path
from nexgent_db.contract._source import Source, all_sources, bound_queries, sources_of, without_method

__all__ = [
    "Argument",
    "CheckedColumn",
    "CheckedQuery",
    "CheckedVariant",
    "Explained",
    "NamedQuery",
    "Plan",
    "Plans",
    "Problem",
    "Report",
    "Result",
    "Source",
    "all_sources",
    "bound_queries",
    "check",
    "check_older",
    "compare",
    "compare_offline",
    "contract_path",
    "described",
    "explain",
    "indexes_of",
    "nodes",
    "plan_of",
    "read",
    "read_catalog",
    "render",
    "seed",
    "shown_path",
    "sources_of",
    "types_sent",
    "without_method",
]
