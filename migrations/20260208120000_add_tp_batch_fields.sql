-- A DCA buy starts a new batch of take-profit levels.
--
-- Why: after a further purchase the configured levels apply afresh, appended to those already hit.
--   total_take_profit_levels null = as many as the configuration has.
-- Locks: ACCESS EXCLUSIVE on agent_positions for an instant; no rewrite.
-- Rollback loses: where the current batch of each position began.

ALTER TABLE agent_positions
ADD COLUMN tp_batch_start_level integer NOT NULL DEFAULT 0,
ADD COLUMN total_take_profit_levels integer;
