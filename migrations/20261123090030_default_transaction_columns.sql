-- Why: history left ids and change times to its client; a row that a DBA inserts in psql needs them as well.
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant; catalog only, nothing is rewritten.
-- Rollback loses: nothing but the defaults.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_transactions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_transactions
    ALTER COLUMN id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP;
