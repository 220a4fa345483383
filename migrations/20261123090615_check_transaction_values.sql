-- Why: what must never be stored is refused by the table, whoever writes. NaN counts as larger than every number in
-- PostgreSQL and would pass a bare `>= 0`: each check names it.
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant. NOT VALID: new rows are held to the checks at once, the
-- existing ones are read by a later migration, under a lock that lets trades go on.
-- Rollback loses: nothing but the checks.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_transactions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_transactions
    ADD CONSTRAINT agent_transactions_input_amount_check
    CHECK (input_amount > 0 AND input_amount <> 'NaN') NOT VALID,
    ADD CONSTRAINT agent_transactions_output_amount_check
    CHECK (output_amount > 0 AND output_amount <> 'NaN') NOT VALID,
    ADD CONSTRAINT agent_transactions_prices_check
    CHECK (input_price >= 0 AND input_price <> 'NaN' AND output_price >= 0 AND output_price <> 'NaN') NOT VALID,
    ADD CONSTRAINT agent_transactions_fees_check
    CHECK (
        fees >= 0 AND fees <> 'NaN'
        AND protocol_fee_sol >= 0 AND protocol_fee_sol <> 'NaN'
        AND network_fee_sol >= 0 AND network_fee_sol <> 'NaN'
    ) NOT VALID;
