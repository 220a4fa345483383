CREATE INDEX agent_historical_swaps_agent_id_idx ON agent_historical_swaps (agent_id);
