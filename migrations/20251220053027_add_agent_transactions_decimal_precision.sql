-- Prices and amounts of transactions keep 18 decimals.
--
-- Why: the same as for positions, one migration earlier: a transaction must say what its position says.
-- Locks: ACCESS EXCLUSIVE on agent_transactions while it is rewritten with all its indexes: plan for down-time.
-- Rollback loses: decimals 9 to 18 (rounded: a price below 5e-9 becomes 0).

ALTER TABLE agent_transactions
ALTER COLUMN input_amount TYPE numeric(30, 18),
ALTER COLUMN input_price TYPE numeric(30, 18),
ALTER COLUMN output_amount TYPE numeric(30, 18),
ALTER COLUMN output_price TYPE numeric(30, 18);
