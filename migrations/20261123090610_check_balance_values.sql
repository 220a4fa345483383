-- Why: what must never be stored is refused by the table, whoever writes. NaN counts as larger than every number in
-- PostgreSQL and would pass a bare `>= 0`: each check names it.
-- Locks: ACCESS EXCLUSIVE on agent_balances for an instant. NOT VALID: new rows are held to the check at once, the
-- existing ones are read by a later migration, under a lock that lets trades go on.
-- Rollback loses: nothing but the check.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_balances IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_balances
    ADD CONSTRAINT agent_balances_balance_check
    CHECK (balance >= 0 AND balance <> 'NaN') NOT VALID;
