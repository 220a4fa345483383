-- A signal belongs to whoever created it.
--
-- Why: only its creator's agents may act on it. Older signals stay without an owner; a signal outlives its creator.
-- Locks: ACCESS EXCLUSIVE on trading_signals until the index is built; SHARE ROW EXCLUSIVE on users, likewise.
-- Rollback loses: who created which signal: an older release lets everybody's agents act on it.

ALTER TABLE trading_signals
ADD COLUMN user_id uuid,
ADD CONSTRAINT trading_signals_user_id_fkey FOREIGN KEY (user_id)
REFERENCES users (id) ON DELETE SET NULL ON UPDATE CASCADE;

-- A user's signals.
CREATE INDEX trading_signals_user_id_idx ON trading_signals (user_id);
