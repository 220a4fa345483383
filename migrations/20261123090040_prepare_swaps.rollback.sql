CREATE INDEX agent_historical_swaps_wallet_address_idx ON agent_historical_swaps (wallet_address);
CREATE INDEX agent_historical_swaps_token_address_idx ON agent_historical_swaps (token_address);
CREATE INDEX agent_historical_swaps_sale_time_idx ON agent_historical_swaps (sale_time);
CREATE INDEX agent_historical_swaps_purchase_time_idx ON agent_historical_swaps (purchase_time);
CREATE INDEX agent_historical_swaps_agent_id_created_at_idx ON agent_historical_swaps (agent_id, created_at);
CREATE INDEX agent_historical_swaps_agent_id_idx ON agent_historical_swaps (agent_id);

ALTER TABLE agent_historical_swaps
    DROP CONSTRAINT agent_historical_swaps_times_check,
    ALTER COLUMN id DROP DEFAULT;
