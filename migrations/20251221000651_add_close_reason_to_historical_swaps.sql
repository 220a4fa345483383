-- Say why a trade was closed.
--
-- Why: a stop-loss, a stale trade and a sale by hand look the same otherwise. Older trades stay null: unknown.
-- Locks: ACCESS EXCLUSIVE on agent_historical_swaps for an instant; no rewrite.
-- Rollback loses: the recorded reasons.

ALTER TABLE agent_historical_swaps
ADD COLUMN close_reason varchar(20);
