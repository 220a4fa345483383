CREATE INDEX agent_wallets_agent_id_idx ON agent_wallets (agent_id);
