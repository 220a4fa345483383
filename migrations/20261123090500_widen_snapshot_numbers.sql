-- Why: as for transactions: SOL has 9 decimals, (20,8) keeps 8.
-- Locks: ACCESS EXCLUSIVE on agent_balance_snapshots while it is rewritten.
-- Rollback loses: it refuses to run while a value would not fit the old columns exactly.
-- squawk-ignore-file changing-column-type

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_balance_snapshots IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_balance_snapshots
    ALTER COLUMN portfolio_balance_sol TYPE numeric(38, 18),
    ALTER COLUMN sol_balance TYPE numeric(38, 18),
    ALTER COLUMN positions_value_sol TYPE numeric(38, 18),
    ALTER COLUMN unrealized_pnl_sol TYPE numeric(38, 18);
