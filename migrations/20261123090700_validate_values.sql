-- Why: the checks of the migration before hold for the rows that were there already, or this one says which do not.
-- Locks: SHARE UPDATE EXCLUSIVE on each table while it is read; reads and writes go on.
-- Rollback loses: nothing; the checks stay, unproven for old rows.

ALTER TABLE agents VALIDATE CONSTRAINT agents_trading_mode_check;

ALTER TABLE agent_wallets VALIDATE CONSTRAINT agent_wallets_wallet_type_check;

ALTER TABLE agent_balances VALIDATE CONSTRAINT agent_balances_balance_check;

ALTER TABLE agent_transactions
    VALIDATE CONSTRAINT agent_transactions_input_amount_check,
    VALIDATE CONSTRAINT agent_transactions_output_amount_check,
    VALIDATE CONSTRAINT agent_transactions_prices_check,
    VALIDATE CONSTRAINT agent_transactions_fees_check;

ALTER TABLE agent_positions
    VALIDATE CONSTRAINT agent_positions_purchase_check,
    VALIDATE CONSTRAINT agent_positions_remaining_amount_check,
    VALIDATE CONSTRAINT agent_positions_moon_bag_amount_check,
    VALIDATE CONSTRAINT agent_positions_counters_check;

ALTER TABLE agent_historical_swaps
    VALIDATE CONSTRAINT agent_historical_swaps_amount_check,
    VALIDATE CONSTRAINT agent_historical_swaps_sale_time_check,
    VALIDATE CONSTRAINT agent_historical_swaps_close_reason_check;

ALTER TABLE trading_signals VALIDATE CONSTRAINT trading_signals_signal_strength_check;

ALTER TABLE signal_executions VALIDATE CONSTRAINT signal_executions_status_check;
