-- Why: what must never be stored is refused by the table, whoever writes.
-- Locks: ACCESS EXCLUSIVE on trading_signals for an instant. NOT VALID: new rows are held to the check at once, the
-- existing ones are read by a later migration, under a lock that lets trades go on.
-- Rollback loses: nothing but the check.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE trading_signals IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE trading_signals
    ADD CONSTRAINT trading_signals_signal_strength_check
    CHECK (signal_strength BETWEEN 1 AND 100) NOT VALID;
