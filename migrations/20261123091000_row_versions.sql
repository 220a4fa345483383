-- Why: a cached row must be comparable with the stored one. Every row that is cached carries a version that rises with
-- each insert and update, whoever makes it: a repository, a cascade, a DBA in psql. Agents here, balances and positions
-- in the next migrations.
-- Locks: ACCESS EXCLUSIVE on agents for an instant; catalog only: the rows that are there share version 1, which
-- nothing else ever gets.
-- Rollback loses: the versions; caches must be emptied.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agents IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

CREATE SEQUENCE row_version_seq START WITH 2;

CREATE FUNCTION set_row_version() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.version := nextval('row_version_seq');
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION set_row_version() IS 'Gives an updated row the next version; inserts get theirs by default.';

ALTER TABLE agents ADD COLUMN version bigint NOT NULL DEFAULT 1;
ALTER TABLE agents ALTER COLUMN version SET DEFAULT nextval('row_version_seq');

CREATE TRIGGER agents_set_row_version
BEFORE UPDATE ON agents
FOR EACH ROW EXECUTE FUNCTION set_row_version();
