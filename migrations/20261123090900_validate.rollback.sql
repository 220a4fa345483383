-- PostgreSQL cannot un-validate a constraint: each is dropped and added as the migration before left it.

ALTER TABLE agents
    DROP CONSTRAINT agents_trading_mode_check,
    ADD CONSTRAINT agents_trading_mode_check
    CHECK (trading_mode IN ('simulation', 'live')) NOT VALID,
    DROP CONSTRAINT agents_times_check,
    ADD CONSTRAINT agents_times_check CHECK (
        least(created_at, updated_at) >= '0001-01-02 00:00:00+00'
        AND greatest(created_at, updated_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

ALTER TABLE agent_wallets
    DROP CONSTRAINT agent_wallets_wallet_type_check,
    ADD CONSTRAINT agent_wallets_wallet_type_check
    CHECK (wallet_type IN ('simulation', 'live')) NOT VALID,
    DROP CONSTRAINT agent_wallets_times_check,
    ADD CONSTRAINT agent_wallets_times_check CHECK (
        least(created_at, updated_at) >= '0001-01-02 00:00:00+00'
        AND greatest(created_at, updated_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

ALTER TABLE agent_balances
    DROP CONSTRAINT agent_balances_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_balances_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID,
    DROP CONSTRAINT agent_balances_times_check,
    ADD CONSTRAINT agent_balances_times_check CHECK (
        last_updated >= '0001-01-02 00:00:00+00'
        AND last_updated < '9999-01-01 00:00:00+00'
    ) NOT VALID;

ALTER TABLE agent_balance_snapshots
    DROP CONSTRAINT agent_balance_snapshots_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_balance_snapshots_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID,
    DROP CONSTRAINT agent_balance_snapshots_times_check,
    ADD CONSTRAINT agent_balance_snapshots_times_check CHECK (
        least(snapshot_timestamp, created_at, updated_at) >= '0001-01-02 00:00:00+00'
        AND greatest(snapshot_timestamp, created_at, updated_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

ALTER TABLE agent_positions
    DROP CONSTRAINT agent_positions_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_positions_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID,
    DROP CONSTRAINT agent_positions_times_check,
    ADD CONSTRAINT agent_positions_times_check CHECK (
        least(last_stop_loss_update, created_at, updated_at, last_dca_time, last_take_profit_time) >= '0001-01-02 00:00:00+00'
        AND greatest(last_stop_loss_update, created_at, updated_at, last_dca_time, last_take_profit_time) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

ALTER TABLE agent_transactions
    DROP CONSTRAINT agent_transactions_signal_id_fkey,
    DROP CONSTRAINT agent_transactions_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_transactions_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID,
    ADD CONSTRAINT agent_transactions_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE SET NULL NOT VALID,
    DROP CONSTRAINT agent_transactions_times_check,
    ADD CONSTRAINT agent_transactions_times_check CHECK (
        least(transaction_time, created_at, updated_at) >= '0001-01-02 00:00:00+00'
        AND greatest(transaction_time, created_at, updated_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

ALTER TABLE agent_historical_swaps
    DROP CONSTRAINT agent_historical_swaps_signal_id_fkey,
    DROP CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID,
    ADD CONSTRAINT agent_historical_swaps_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE SET NULL NOT VALID,
    DROP CONSTRAINT agent_historical_swaps_times_check,
    ADD CONSTRAINT agent_historical_swaps_times_check CHECK (
        least(purchase_time, sale_time, created_at) >= '0001-01-02 00:00:00+00'
        AND greatest(purchase_time, sale_time, created_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

ALTER TABLE signal_executions
    DROP CONSTRAINT signal_executions_signal_id_fkey,
    ADD CONSTRAINT signal_executions_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID,
    DROP CONSTRAINT signal_executions_times_check,
    ADD CONSTRAINT signal_executions_times_check CHECK (
        executed_at >= '0001-01-02 00:00:00+00'
        AND executed_at < '9999-01-01 00:00:00+00'
    ) NOT VALID;

ALTER TABLE users
    DROP CONSTRAINT users_times_check,
    ADD CONSTRAINT users_times_check CHECK (
        least(created_at, locked_until) >= '0001-01-02 00:00:00+00'
        AND greatest(created_at, locked_until) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_times_check,
    ADD CONSTRAINT api_keys_times_check CHECK (
        least(created_at, expires_at, revoked_at, last_used_at) >= '0001-01-02 00:00:00+00'
        AND greatest(created_at, expires_at, revoked_at, last_used_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

ALTER TABLE trading_signals
    DROP CONSTRAINT trading_signals_times_check,
    ADD CONSTRAINT trading_signals_times_check CHECK (
        least(created_at, updated_at) >= '0001-01-02 00:00:00+00'
        AND greatest(created_at, updated_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;
