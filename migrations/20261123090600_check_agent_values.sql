-- Why: what must never be stored is refused by the table, whoever writes.
-- Locks: ACCESS EXCLUSIVE on agents for an instant. NOT VALID: new rows are held to the check at once, the existing
-- ones are read by a later migration, under a lock that lets trades go on.
-- Rollback loses: nothing but the check.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agents IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agents
    ADD CONSTRAINT agents_trading_mode_check
    CHECK (trading_mode IN ('simulation', 'live')) NOT VALID;
