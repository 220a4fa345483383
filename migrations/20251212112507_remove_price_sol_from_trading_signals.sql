-- A signal no longer carries a price.
--
-- Why: the price at the signal's creation was stale by the time an agent acted on it; agents ask for the current one.
-- Locks: ACCESS EXCLUSIVE on trading_signals for an instant; the table is not rewritten.
-- Rollback loses: nothing more, but the prices that this migration drops do not come back.

ALTER TABLE trading_signals
DROP COLUMN price_sol;
