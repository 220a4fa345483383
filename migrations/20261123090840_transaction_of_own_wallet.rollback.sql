ALTER TABLE agent_transactions
    DROP CONSTRAINT agent_transactions_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_transactions_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE;
