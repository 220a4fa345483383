-- Why: as for transactions.
-- Locks: ACCESS EXCLUSIVE on agent_historical_swaps while it is rewritten.
-- Rollback loses: it refuses to run while a value would not fit the old columns exactly.
-- squawk-ignore-file changing-column-type

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_historical_swaps IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_historical_swaps
    ALTER COLUMN amount TYPE numeric(38, 18),
    ALTER COLUMN purchase_price TYPE numeric(38, 18),
    ALTER COLUMN sale_price TYPE numeric(38, 18),
    ALTER COLUMN profit_loss_sol TYPE numeric(38, 18),
    ALTER COLUMN change_percent TYPE numeric(20, 4);
