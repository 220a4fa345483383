ALTER TABLE agent_wallets DROP CONSTRAINT agent_wallets_agent_id_wallet_address_key;

CREATE UNIQUE INDEX agent_wallets_agent_id_wallet_address_key ON agent_wallets (agent_id, wallet_address);
