-- Why: as for transactions; and (5,2) cannot hold a stop-loss above +999.99 %.
-- Locks: ACCESS EXCLUSIVE on agent_positions while it is rewritten (open positions only: small).
-- Rollback loses: it refuses to run while a value would not fit the old columns exactly.
-- squawk-ignore-file changing-column-type

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_positions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_positions
    ALTER COLUMN purchase_price TYPE numeric(38, 18),
    ALTER COLUMN purchase_amount TYPE numeric(38, 18),
    ALTER COLUMN peak_price TYPE numeric(38, 18),
    ALTER COLUMN lowest_price TYPE numeric(38, 18),
    ALTER COLUMN remaining_amount TYPE numeric(38, 18),
    ALTER COLUMN moon_bag_amount TYPE numeric(38, 18),
    ALTER COLUMN total_invested_sol TYPE numeric(38, 18),
    ALTER COLUMN realized_profit_sol TYPE numeric(38, 18),
    ALTER COLUMN current_stop_loss_percentage TYPE numeric(20, 4);
