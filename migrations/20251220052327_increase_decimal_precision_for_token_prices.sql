-- Token prices and amounts of positions and closed trades keep 18 decimals.
--
-- Why: real prices go down to 1e-12 SOL per token; with 8 decimals they were stored as 0.
-- Locks: ACCESS EXCLUSIVE on agent_historical_swaps and agent_positions while both are rewritten with all their
--   indexes: on large tables plan for down-time.
-- Rollback loses: decimals 9 to 18 (rounded: a price below 5e-9 becomes 0).

ALTER TABLE agent_historical_swaps
ALTER COLUMN amount TYPE numeric(30, 18),
ALTER COLUMN purchase_price TYPE numeric(30, 18),
ALTER COLUMN sale_price TYPE numeric(30, 18);

ALTER TABLE agent_positions
ALTER COLUMN purchase_price TYPE numeric(30, 18),
ALTER COLUMN purchase_amount TYPE numeric(30, 18),
ALTER COLUMN peak_price TYPE numeric(30, 18);
