ALTER TABLE agent_historical_swaps
    ADD CONSTRAINT agent_historical_swaps_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE agent_transactions
    ADD CONSTRAINT agent_transactions_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE agent_balance_snapshots
    ADD CONSTRAINT agent_balance_snapshots_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE agent_balances
    ADD CONSTRAINT agent_balances_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE agent_positions
    ADD CONSTRAINT agent_positions_wallet_address_fkey
    FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE;
