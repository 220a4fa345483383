"""What a database is made of, as plain data: read it, compare two of them, write it as SQL.

    with psycopg.connect(conninfo) as conn:
        found = read_catalog(conn)
    for difference in differences(expected, found):
        print(difference)

Equal schemas give equal values on PostgreSQL 15 to 18, whatever the schema is called and whether the database was
migrated or restored from a dump. Not looked at: owners and grants, row-level security and its policies (optional),
what belongs to an extension, and the tables in which yoyo, Prisma and this package keep their books.
"""

from nexgent_db.catalog._differences import Difference, differences
from nexgent_db.catalog._model import Catalog, Column, Index, Sequence, Table, Trigger
from nexgent_db.catalog._read import read_catalog
from nexgent_db.catalog._render import render

__all__ = [
    "Catalog",
    "Column",
    "Difference",
    "Index",
    "Sequence",
    "Table",
    "Trigger",
    "differences",
    "read_catalog",
    "render",
]
