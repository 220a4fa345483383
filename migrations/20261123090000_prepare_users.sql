-- Why: history left ids to its client; a row that a DBA inserts in psql needs one as well. Each table has such a file, so
-- that statements wait for one table at a time.
-- The table refuses times that Python's calendar does not have, such as infinity: nobody could read them.
-- Locks: ACCESS EXCLUSIVE on users for an instant; catalog only, nothing is rewritten.
-- Rollback loses: nothing but the default and the check.

-- Statements on users wait half a second at most.
SET LOCAL lock_timeout = '500ms';

ALTER TABLE users
    ALTER COLUMN id SET DEFAULT new_id(),
    ADD CONSTRAINT users_times_check CHECK (
        least(created_at, locked_until) >= '0001-01-02 00:00:00+00'
        AND greatest(created_at, locked_until) < '9999-01-01 00:00:00+00'
    ) NOT VALID;
