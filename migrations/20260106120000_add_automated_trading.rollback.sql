-- Agents cannot be paused.
--
-- Why: undoes 20260106120000_add_automated_trading.
-- Locks: ACCESS EXCLUSIVE on agents for an instant; no rewrite.
-- Loses: which agents are paused: an older release trades for all of them.

-- Its index goes with it.
ALTER TABLE agents
DROP COLUMN automated_trading;
