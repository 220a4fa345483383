ALTER TABLE agent_balance_snapshots
    ADD CONSTRAINT agent_balance_snapshots_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE;
