-- Why: history left change times to its client; a row that a DBA inserts in psql needs them as well.
-- Locks: ACCESS EXCLUSIVE on trading_signals for an instant; catalog only, nothing is rewritten.
-- Rollback loses: nothing but the default.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE trading_signals IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE trading_signals ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP;
