-- Positions are sold whole.
--
-- Why: undoes 20260131120000_add_take_profit_fields_to_positions.
-- Locks: ACCESS EXCLUSIVE on agent_positions for an instant; no rewrite.
-- Loses: what remains of partly sold positions, their levels, sales and moon bags. Close such positions first.

ALTER TABLE agent_positions
DROP COLUMN remaining_amount,
DROP COLUMN take_profit_levels_hit,
DROP COLUMN take_profit_transaction_ids,
DROP COLUMN last_take_profit_time,
DROP COLUMN moon_bag_activated,
DROP COLUMN moon_bag_amount;
