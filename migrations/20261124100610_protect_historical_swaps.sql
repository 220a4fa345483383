-- Why: as for transactions.
-- Locks: SHARE ROW EXCLUSIVE on agent_historical_swaps for an instant; catalog only. Reads go on.
-- Rollback loses: the protection.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_historical_swaps IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

CREATE TRIGGER agent_historical_swaps_append_only
BEFORE UPDATE OR DELETE ON agent_historical_swaps
FOR EACH ROW EXECUTE FUNCTION protect_ledger();

CREATE TRIGGER agent_historical_swaps_append_only_whole
BEFORE TRUNCATE ON agent_historical_swaps
FOR EACH STATEMENT EXECUTE FUNCTION protect_whole_ledger();
