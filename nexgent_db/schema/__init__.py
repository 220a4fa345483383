"""The schema of a database as plain data: read it, compare two of them, write it as SQL.

    with psycopg.connect(conninfo) as conn:
        found = read_catalog(conn)
    for difference in differences(expected, found):
        print(difference)

Equal schemas give equal values on PostgreSQL 15 to 18, whatever the schema is called and whether the database was
migrated or restored from a dump. Two schemas may differ in the body of a function whose comment says that the server's
version decides it. Not read: owners and grants, row-level security and its policies (optional), objects of extensions,
and the history tables of yoyo, Prisma and this package.
"""
