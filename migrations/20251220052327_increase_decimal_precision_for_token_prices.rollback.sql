-- Token prices and amounts of positions and closed trades keep 8 decimals.
--
-- Why: undoes 20251220052327_increase_decimal_precision_for_token_prices.
-- Locks: ACCESS EXCLUSIVE on agent_historical_swaps and agent_positions while both are rewritten.
-- Loses: decimals 9 to 18 of every price and amount; a price below 5e-9 becomes 0.

ALTER TABLE agent_positions
ALTER COLUMN purchase_price TYPE numeric(20, 8),
ALTER COLUMN purchase_amount TYPE numeric(20, 8),
ALTER COLUMN peak_price TYPE numeric(20, 8);

ALTER TABLE agent_historical_swaps
ALTER COLUMN amount TYPE numeric(20, 8),
ALTER COLUMN purchase_price TYPE numeric(20, 8),
ALTER COLUMN sale_price TYPE numeric(20, 8);
