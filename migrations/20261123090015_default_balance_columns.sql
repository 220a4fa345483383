-- Why: history left ids and change times to its client; a row that a DBA inserts in psql needs them as well.
-- Locks: ACCESS EXCLUSIVE on agent_balances for an instant; catalog only, nothing is rewritten.
-- Rollback loses: nothing but the defaults.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_balances IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_balances
    ALTER COLUMN id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN last_updated SET DEFAULT CURRENT_TIMESTAMP;
