ALTER TABLE agent_balance_snapshots
    DROP CONSTRAINT agent_balance_snapshots_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_balance_snapshots_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE,
    ADD CONSTRAINT agent_balance_snapshots_agent_id_fkey
    FOREIGN KEY (agent_id) REFERENCES agents (id)
    ON UPDATE CASCADE ON DELETE CASCADE;
