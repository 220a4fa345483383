ALTER TABLE agent_wallets DROP COLUMN trade_count;
