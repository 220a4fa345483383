-- Prices and amounts of transactions keep 8 decimals.
--
-- Why: undoes 20251220053027_add_agent_transactions_decimal_precision.
-- Locks: ACCESS EXCLUSIVE on agent_transactions while it is rewritten.
-- Loses: decimals 9 to 18 of every price and amount; a price below 5e-9 becomes 0.

ALTER TABLE agent_transactions
ALTER COLUMN input_amount TYPE numeric(20, 8),
ALTER COLUMN input_price TYPE numeric(20, 8),
ALTER COLUMN output_amount TYPE numeric(20, 8),
ALTER COLUMN output_price TYPE numeric(20, 8);
