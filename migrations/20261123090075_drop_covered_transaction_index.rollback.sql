CREATE INDEX agent_transactions_agent_id_idx ON agent_transactions (agent_id);
