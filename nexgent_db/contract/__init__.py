"""Proves every named query against a real PostgreSQL: ``nexgent-db check``.

:func:`all_sources` lists the queries and :func:`own_sources` a service's, :func:`check` proves them on a migrated
database, :func:`check_functions` proves the functions of the schema, :func:`explain` reads their plans; :func:`render`
and :func:`compare` write and compare the committed contract; :func:`check_older` checks another revision's queries
against this schema.

The check accepts a numeric column without precision and scale (an expression) for ``Exact(p, s)`` when it proves that
the column has at most ``s`` decimals. It does not check the digits before the point.
"""

from nexgent_db.contract._catalog import read_catalog
from nexgent_db.contract._check import check
from nexgent_db.contract._checked import CheckedColumn, CheckedQuery, CheckedVariant, Report
from nexgent_db.contract._described import Argument, NamedQuery, Result, described
from nexgent_db.contract._file import ContractFile, compare, compare_offline, contract_path, read, render
from nexgent_db.contract._fill import fill_own_tables
from nexgent_db.contract._functions import FunctionReport, check_functions
from nexgent_db.contract._live import contract_problems
from nexgent_db.contract._older import check_older
from nexgent_db.contract._own import own_sources
from nexgent_db.contract._plans import Explained, Plan, Plans, explain, indexes_of, nodes, plan_of, seed, types_sent
from nexgent_db.contract._problem import Problem, shown_path
from nexgent_db.contract._source import Source, all_sources, bound_queries, sources_of, without_method

__all__ = [
    "Argument",
    "CheckedColumn",
    "CheckedQuery",
    "CheckedVariant",
    "ContractFile",
    "Explained",
    "FunctionReport",
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
    "check_functions",
    "check_older",
    "compare",
    "compare_offline",
    "contract_path",
    "contract_problems",
    "described",
    "explain",
    "fill_own_tables",
    "indexes_of",
    "nodes",
    "own_sources",
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
