-- Why: history left ids to its client; a row that a DBA inserts in psql needs one as well. Each table has such a file, so
-- that statements wait for one table at a time.
-- Locks: ACCESS EXCLUSIVE on users for an instant; catalog only, nothing is rewritten.
-- Rollback loses: nothing but the default.

-- Statements on users wait half a second at most.
SET LOCAL lock_timeout = '500ms';

ALTER TABLE users ALTER COLUMN id SET DEFAULT new_id();
