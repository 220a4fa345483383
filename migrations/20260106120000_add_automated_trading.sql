-- An agent's automated trading can be paused.
--
-- Why: pausing used to mean deleting the agent. True by default: existing agents go on trading.
-- Locks: ACCESS EXCLUSIVE on agents until the index is built; the new column rewrites nothing.
-- Rollback loses: which agents are paused; an older release trades for all of them.

ALTER TABLE agents
ADD COLUMN automated_trading boolean NOT NULL DEFAULT TRUE;

-- The agents that may trade.
CREATE INDEX agents_automated_trading_idx ON agents (automated_trading);
