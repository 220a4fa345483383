-- A signal carries a price again.
--
-- Why: undoes 20251212112507_remove_price_sol_from_trading_signals.
-- Locks: ACCESS EXCLUSIVE on trading_signals for an instant; no rewrite.
-- Loses: nothing, but the dropped prices are gone: the column comes back empty.
-- Order: PostgreSQL appends it, so price_sol is now the last column and no longer follows symbol.

ALTER TABLE trading_signals
ADD COLUMN price_sol numeric(20, 8);
