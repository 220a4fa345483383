-- One batch of take-profit levels a position.
--
-- Why: undoes 20260208120000_add_tp_batch_fields.
-- Locks: ACCESS EXCLUSIVE on agent_positions for an instant; no rewrite.
-- Loses: where the current batch of each position began, and how many levels it has.

ALTER TABLE agent_positions
DROP COLUMN tp_batch_start_level,
DROP COLUMN total_take_profit_levels;
