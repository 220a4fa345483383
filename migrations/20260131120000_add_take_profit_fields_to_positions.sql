-- A position may be sold in several parts (take-profit), and a part set aside (moon bag).
--
-- Why: the next partial sale depends on what remains and which levels were hit. remaining_amount null = all of it.
-- Locks: ACCESS EXCLUSIVE on agent_positions for an instant; no rewrite.
-- Rollback loses: what remains of partly sold positions: an older release takes them for whole.

ALTER TABLE agent_positions
ADD COLUMN remaining_amount numeric(30, 18),
ADD COLUMN take_profit_levels_hit integer NOT NULL DEFAULT 0,
ADD COLUMN take_profit_transaction_ids text[] NOT NULL DEFAULT '{}',
ADD COLUMN last_take_profit_time timestamptz,
ADD COLUMN moon_bag_activated boolean NOT NULL DEFAULT FALSE,
ADD COLUMN moon_bag_amount numeric(30, 18);
