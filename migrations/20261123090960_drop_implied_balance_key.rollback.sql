ALTER TABLE agent_balances
    ADD CONSTRAINT agent_balances_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE;
