ALTER TABLE agent_positions
    ADD CONSTRAINT agent_positions_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE;
