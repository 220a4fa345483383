-- Why: history left ids to its client; a row that a DBA inserts in psql needs them as well.
-- Locks: ACCESS EXCLUSIVE on signal_executions for an instant; catalog only, nothing is rewritten.
-- Rollback loses: nothing but the default.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE signal_executions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE signal_executions ALTER COLUMN id SET DEFAULT gen_random_uuid();
