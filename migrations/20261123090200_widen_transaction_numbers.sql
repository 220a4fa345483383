-- Why: real token amounts reach 10^13 and SOL has 9 decimals: (30,18) ends at 10^12, (20,8) loses a lamport,
-- (10,4) overflows at a 10,000-fold move.
-- Locks: ACCESS EXCLUSIVE on agent_transactions while it is rewritten: the fees change their scale.
-- Rollback loses: it refuses to run while a value would not fit the old columns exactly.
-- squawk-ignore-file changing-column-type

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_transactions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_transactions
    ALTER COLUMN input_amount TYPE numeric(38, 18),
    ALTER COLUMN input_price TYPE numeric(38, 18),
    ALTER COLUMN output_amount TYPE numeric(38, 18),
    ALTER COLUMN output_price TYPE numeric(38, 18),
    ALTER COLUMN fees TYPE numeric(38, 18),
    ALTER COLUMN protocol_fee_sol TYPE numeric(38, 18),
    ALTER COLUMN network_fee_sol TYPE numeric(38, 18),
    ALTER COLUMN slippage TYPE numeric(20, 4),
    ALTER COLUMN price_impact TYPE numeric(20, 4);
