-- Signals without a creator.
--
-- Why: undoes 20260211120000_add_user_id_to_trading_signals.
-- Locks: ACCESS EXCLUSIVE on trading_signals for an instant, and on users (its key's triggers go); no rewrite.
-- Loses: the creator of each signal: the agents of all users act on it.

-- Its foreign key and index go with it.
ALTER TABLE trading_signals
DROP COLUMN user_id;
