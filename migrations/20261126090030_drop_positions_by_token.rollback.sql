CREATE INDEX CONCURRENTLY IF NOT EXISTS agent_positions_token_address_idx ON agent_positions (token_address);
