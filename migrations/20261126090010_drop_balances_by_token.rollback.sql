CREATE INDEX CONCURRENTLY IF NOT EXISTS agent_balances_token_address_idx ON agent_balances (token_address);
