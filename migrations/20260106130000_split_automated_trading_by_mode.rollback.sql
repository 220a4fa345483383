-- Automated trading is paused for an agent as a whole.
--
-- Why: undoes 20260106130000_split_automated_trading_by_mode.
-- Locks: ACCESS EXCLUSIVE on agents until the end; paused agents are updated.
-- Loses: which mode was paused. An agent paused in either mode is paused: the mistake that costs nothing.

ALTER TABLE agents
ADD COLUMN automated_trading boolean NOT NULL DEFAULT TRUE;

UPDATE agents
SET automated_trading = FALSE
WHERE NOT (automated_trading_simulation AND automated_trading_live);

-- Their indexes go with them.
ALTER TABLE agents
DROP COLUMN automated_trading_simulation,
DROP COLUMN automated_trading_live;

-- The agents that may trade.
CREATE INDEX agents_automated_trading_idx ON agents (automated_trading);
