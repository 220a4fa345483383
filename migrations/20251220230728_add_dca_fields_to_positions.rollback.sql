-- A position is one purchase.
--
-- Why: undoes 20251220230728_add_dca_fields_to_positions.
-- Locks: ACCESS EXCLUSIVE on agent_positions for an instant; no rewrite.
-- Loses: the number, ids and time of DCA buys, the lowest price seen and the total invested.

ALTER TABLE agent_positions
DROP COLUMN dca_count,
DROP COLUMN dca_transaction_ids,
DROP COLUMN last_dca_time,
DROP COLUMN lowest_price,
DROP COLUMN total_invested_sol;
