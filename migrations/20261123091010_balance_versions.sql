-- Why: as for agents.
-- Locks: ACCESS EXCLUSIVE on agent_balances for an instant; catalog only: the rows that are there share version 1,
-- which nothing else ever gets.
-- Rollback loses: the versions; caches must be emptied.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_balances IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_balances ADD COLUMN version bigint NOT NULL DEFAULT 1;
ALTER TABLE agent_balances ALTER COLUMN version SET DEFAULT nextval('row_version_seq');

CREATE TRIGGER agent_balances_set_row_version
BEFORE UPDATE ON agent_balances
FOR EACH ROW EXECUTE FUNCTION set_row_version();
