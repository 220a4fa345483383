ALTER TABLE agent_historical_swaps ALTER COLUMN id DROP DEFAULT;
