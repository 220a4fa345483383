-- Why: what must never be stored is refused by the table, whoever writes. NaN counts as larger than every number in
-- PostgreSQL and would pass a bare `>= 0`: each check names it.
-- Locks: ACCESS EXCLUSIVE on agent_historical_swaps for an instant. NOT VALID: new rows are held to the checks at once,
-- the existing ones are read by a later migration, under a lock that lets trades go on.
-- Rollback loses: nothing but the checks.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_historical_swaps IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_historical_swaps
    ADD CONSTRAINT agent_historical_swaps_amount_check
    CHECK (amount > 0 AND amount <> 'NaN') NOT VALID,
    ADD CONSTRAINT agent_historical_swaps_sale_time_check
    CHECK (sale_time >= purchase_time) NOT VALID,
    ADD CONSTRAINT agent_historical_swaps_close_reason_check
    CHECK (close_reason IN ('manual', 'stop_loss', 'stale_trade', 'take_profit')) NOT VALID;
