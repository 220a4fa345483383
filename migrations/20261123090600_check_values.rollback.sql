ALTER TABLE signal_executions DROP CONSTRAINT signal_executions_status_check;

ALTER TABLE trading_signals DROP CONSTRAINT trading_signals_signal_strength_check;

ALTER TABLE agent_historical_swaps
    DROP CONSTRAINT agent_historical_swaps_close_reason_check,
    DROP CONSTRAINT agent_historical_swaps_sale_time_check,
    DROP CONSTRAINT agent_historical_swaps_amount_check;

ALTER TABLE agent_positions
    DROP CONSTRAINT agent_positions_counters_check,
    DROP CONSTRAINT agent_positions_moon_bag_amount_check,
    DROP CONSTRAINT agent_positions_remaining_amount_check,
    DROP CONSTRAINT agent_positions_purchase_check;

ALTER TABLE agent_transactions
    DROP CONSTRAINT agent_transactions_fees_check,
    DROP CONSTRAINT agent_transactions_prices_check,
    DROP CONSTRAINT agent_transactions_output_amount_check,
    DROP CONSTRAINT agent_transactions_input_amount_check;

ALTER TABLE agent_balances DROP CONSTRAINT agent_balances_balance_check;

ALTER TABLE agent_wallets DROP CONSTRAINT agent_wallets_wallet_type_check;

ALTER TABLE agents DROP CONSTRAINT agents_trading_mode_check;
