ALTER TABLE agent_historical_swaps
    DROP CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_historical_swaps_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE;
