-- Closed trades without a reason.
--
-- Why: undoes 20251221000651_add_close_reason_to_historical_swaps.
-- Locks: ACCESS EXCLUSIVE on agent_historical_swaps for an instant; no rewrite.
-- Loses: every close_reason.

ALTER TABLE agent_historical_swaps
DROP COLUMN close_reason;
