-- Why: what must never be stored is refused by the table, whoever writes. NaN counts as larger than every number
-- in PostgreSQL and would pass a bare `>= 0`: each check names it.
-- Locks: ACCESS EXCLUSIVE on each table for an instant. NOT VALID: new rows are held to the checks at once,
-- the existing ones are read by the next migration, under a lock that lets trades go on.
-- Rollback loses: nothing but the checks.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE
    agent_positions, agent_balances, agent_transactions, agent_historical_swaps, trading_signals,
    signal_executions
IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agents
    ADD CONSTRAINT agents_trading_mode_check
    CHECK (trading_mode IN ('simulation', 'live')) NOT VALID;

ALTER TABLE agent_wallets
    ADD CONSTRAINT agent_wallets_wallet_type_check
    CHECK (wallet_type IN ('simulation', 'live')) NOT VALID;

ALTER TABLE agent_balances
    ADD CONSTRAINT agent_balances_balance_check
    CHECK (balance >= 0 AND balance <> 'NaN') NOT VALID;

ALTER TABLE agent_transactions
    ADD CONSTRAINT agent_transactions_input_amount_check
    CHECK (input_amount > 0 AND input_amount <> 'NaN') NOT VALID,
    ADD CONSTRAINT agent_transactions_output_amount_check
    CHECK (output_amount > 0 AND output_amount <> 'NaN') NOT VALID,
    ADD CONSTRAINT agent_transactions_prices_check
    CHECK (input_price >= 0 AND input_price <> 'NaN' AND output_price >= 0 AND output_price <> 'NaN') NOT VALID,
    ADD CONSTRAINT agent_transactions_fees_check
    CHECK (
        fees >= 0 AND fees <> 'NaN'
        AND protocol_fee_sol >= 0 AND protocol_fee_sol <> 'NaN'
        AND network_fee_sol >= 0 AND network_fee_sol <> 'NaN'
    ) NOT VALID;

ALTER TABLE agent_positions
    ADD CONSTRAINT agent_positions_purchase_check
    CHECK (
        purchase_price >= 0 AND purchase_price <> 'NaN'
        AND purchase_amount > 0 AND purchase_amount <> 'NaN'
        AND total_invested_sol >= 0 AND total_invested_sol <> 'NaN'
    ) NOT VALID,
    ADD CONSTRAINT agent_positions_remaining_amount_check
    CHECK (remaining_amount BETWEEN 0 AND purchase_amount) NOT VALID,
    ADD CONSTRAINT agent_positions_moon_bag_amount_check
    CHECK (moon_bag_amount BETWEEN 0 AND coalesce(remaining_amount, purchase_amount)) NOT VALID,
    ADD CONSTRAINT agent_positions_counters_check
    CHECK (
        dca_count >= 0
        AND take_profit_levels_hit >= 0
        AND tp_batch_start_level >= 0
        AND total_take_profit_levels >= 0
    ) NOT VALID;

ALTER TABLE agent_historical_swaps
    ADD CONSTRAINT agent_historical_swaps_amount_check
    CHECK (amount > 0 AND amount <> 'NaN') NOT VALID,
    ADD CONSTRAINT agent_historical_swaps_sale_time_check
    CHECK (sale_time >= purchase_time) NOT VALID,
    ADD CONSTRAINT agent_historical_swaps_close_reason_check
    CHECK (close_reason IN ('manual', 'stop_loss', 'stale_trade', 'take_profit')) NOT VALID;

ALTER TABLE trading_signals
    ADD CONSTRAINT trading_signals_signal_strength_check
    CHECK (signal_strength BETWEEN 1 AND 100) NOT VALID;

ALTER TABLE signal_executions
    ADD CONSTRAINT signal_executions_status_check
    CHECK (status IN ('PENDING', 'EXECUTED', 'FAILED', 'SKIPPED')) NOT VALID;
