-- Automated trading is paused per mode: simulation and live.
--
-- Why: pausing live trading should not stop the simulation beside it.
-- Locks: ACCESS EXCLUSIVE on agents until the indexes are built; the new columns rewrite nothing, paused agents are
--   updated.
-- Rollback loses: which of the two modes was paused: an agent paused in either is then paused in both.
--
-- The catalog is the public system's. Its own migration lets both flags begin as true; here an agent that was paused
-- stays paused, in both modes.

ALTER TABLE agents
ADD COLUMN automated_trading_simulation boolean NOT NULL DEFAULT TRUE,
ADD COLUMN automated_trading_live boolean NOT NULL DEFAULT TRUE;

UPDATE agents
SET
    automated_trading_simulation = FALSE,
    automated_trading_live = FALSE
WHERE NOT automated_trading;

-- Its index goes with it.
ALTER TABLE agents
DROP COLUMN automated_trading;

-- The agents that may trade in simulation.
CREATE INDEX agents_automated_trading_simulation_idx ON agents (automated_trading_simulation);
-- The agents that may trade live.
CREATE INDEX agents_automated_trading_live_idx ON agents (automated_trading_live);
