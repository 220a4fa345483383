-- Why: history left ids and change times to its client; a row that a DBA inserts in psql needs them as well. The tables
-- that trades use follow, each in a file of its own: nobody waits for more than one of them.
-- Locks: ACCESS EXCLUSIVE on users and api_keys for an instant; catalog only, nothing is rewritten.
-- Rollback loses: nothing but the defaults.

-- Who uses the tables waits half a second at the most.
SET LOCAL lock_timeout = '250ms';

ALTER TABLE users ALTER COLUMN id SET DEFAULT gen_random_uuid();

ALTER TABLE api_keys ALTER COLUMN id SET DEFAULT gen_random_uuid();
