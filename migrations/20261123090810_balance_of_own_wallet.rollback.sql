CREATE INDEX agent_balances_agent_id_wallet_address_idx ON agent_balances (agent_id, wallet_address);

ALTER TABLE agent_balances
    DROP CONSTRAINT agent_balances_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_balances_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE,
    ADD CONSTRAINT agent_balances_agent_id_fkey
    FOREIGN KEY (agent_id) REFERENCES agents (id)
    ON UPDATE CASCADE ON DELETE CASCADE;
