-- Why: as for transactions. A profit in USD is NULL where the orders carried no values in USD, instead of 0; and a position
-- may be closed by a write-off.
-- Ids of signals become bigint (20261123090540). The key to trading_signals is added NOT VALID again, under the same lock
-- that it is dropped: 20261123090900 reads the rows under one that lets trades go on.
-- Locks: ACCESS EXCLUSIVE on agent_historical_swaps while it is rewritten, and on trading_signals, to which the key refers.
-- Rollback loses: nothing but the checks. It refuses to run while a value would not fit the old columns exactly.
-- squawk-ignore-file ban-drop-constraint, ban-drop-not-null
-- squawk-ignore-file changing-column-type, constraint-missing-not-valid

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most: a quarter
-- for each table.
LOCK TABLE trading_signals, agent_historical_swaps IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '250ms';

ALTER TABLE agent_historical_swaps
    DROP CONSTRAINT agent_historical_swaps_signal_id_fkey,
    ALTER COLUMN signal_id TYPE bigint,
    ALTER COLUMN amount TYPE numeric(38, 18),
    ALTER COLUMN purchase_price TYPE numeric(38, 18),
    ALTER COLUMN sale_price TYPE numeric(38, 18),
    ALTER COLUMN profit_loss_sol TYPE numeric(38, 18),
    ALTER COLUMN change_percent TYPE numeric(20, 4),
    ALTER COLUMN profit_loss_usd DROP NOT NULL,
    ADD CONSTRAINT agent_historical_swaps_amount_check
    CHECK (amount > 0 AND amount <> 'NaN'),
    ADD CONSTRAINT agent_historical_swaps_sale_time_check
    CHECK (sale_time >= purchase_time),
    ADD CONSTRAINT agent_historical_swaps_close_reason_check
    CHECK (close_reason IN ('manual', 'stop_loss', 'stale_trade', 'take_profit', 'write_off')),
    ADD CONSTRAINT agent_historical_swaps_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE SET NULL NOT VALID;
