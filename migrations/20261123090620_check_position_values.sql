-- Why: what must never be stored is refused by the table, whoever writes. NaN counts as larger than every number in
-- PostgreSQL and would pass a bare `>= 0`: each check names it.
-- Locks: ACCESS EXCLUSIVE on agent_positions for an instant. NOT VALID: new rows are held to the checks at once, the
-- existing ones are read by a later migration, under a lock that lets trades go on.
-- Rollback loses: nothing but the checks.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_positions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_positions
    ADD CONSTRAINT agent_positions_purchase_check
    CHECK (
        purchase_price >= 0 AND purchase_price <> 'NaN'
        AND purchase_amount > 0 AND purchase_amount <> 'NaN'
        AND total_invested_sol >= 0 AND total_invested_sol <> 'NaN'
    ) NOT VALID,
    ADD CONSTRAINT agent_positions_remaining_amount_check
    CHECK (remaining_amount BETWEEN 0 AND purchase_amount) NOT VALID,
    ADD CONSTRAINT agent_positions_moon_bag_amount_check
    CHECK (moon_bag_amount BETWEEN 0 AND coalesce(remaining_amount, purchase_amount)) NOT VALID,
    ADD CONSTRAINT agent_positions_counters_check
    CHECK (
        dca_count >= 0
        AND take_profit_levels_hit >= 0
        AND tp_batch_start_level >= 0
        AND total_take_profit_levels >= 0
    ) NOT VALID;
