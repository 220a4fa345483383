-- Why: a service with many cells (schemas, each with all tables of its users) must know the cell of a user. The directory
-- says it: one row a user, in the schema that the service connects to. No foreign key: the users are in their cells. Each
-- cell has the table, too, and leaves it empty: every schema of a release is the same, so a cell can be the directory of
-- cells of its own.
-- Locks: none on existing tables.
-- Rollback loses: which user is in which cell. Export the table first.

CREATE TABLE user_cells (
    user_id uuid NOT NULL,
    cell varchar(63) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT user_cells_pkey PRIMARY KEY (user_id),
    CONSTRAINT user_cells_cell_check CHECK (cell <> ''),
    CONSTRAINT user_cells_times_check CHECK (
        updated_at >= '0001-01-02 00:00:00+00'
        AND updated_at < '9999-01-01 00:00:00+00'
    )
);

-- user_cells.list_by_cell, user_cells.count_per_cell, nexgent-db cells drop.
CREATE INDEX user_cells_cell_user_id_idx ON user_cells (cell, user_id);

COMMENT ON TABLE user_cells IS 'The directory: the cell, which is a schema, of each user. Empty in a cell.';
