-- Why: a balance kept as text cannot be compared, added or guarded by the database. The table refuses what must
-- never be stored; NaN counts as larger than every number in PostgreSQL and would pass a bare `>= 0`, so the check names
-- it. Every wallet has a balance of SOL: a look-up by wallet and token that takes an index on the token alone
-- reads all of them, and the planner does so where most tokens have one holder. So that index goes on with the wallet.
-- Gain: one row read instead of a thousand, where a thousand wallets are (tests/integration/test_trade_reads.py).
-- Locks: ACCESS EXCLUSIVE on agent_balances while it is read and rewritten (one row for each wallet and token).
-- Rollback loses: nothing; every number prints as text, with 18 decimals.
--
-- A text that is not a number, or that numeric(38,18) cannot hold exactly, stops the migration before it changes
-- anything. The message lists the first ten such rows: 20261123085900 has listed all, these have come since.
-- squawk-ignore-file changing-column-type, constraint-missing-not-valid
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. For the next they wait half a second at the most: with it
-- nobody can store a text between the check and the change.
LOCK TABLE agent_balances IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';
LOCK TABLE agent_balances IN ACCESS EXCLUSIVE MODE;

DO $$
DECLARE
    offending text;
BEGIN
    SELECT string_agg(format('%s of wallet %s: %L', token_address, wallet_address, left(balance, 60)), '; ')
    INTO offending
    FROM (
        SELECT token_address, wallet_address, balance
        FROM agent_balances
        WHERE CASE
            WHEN length(balance) > 1000 OR balance
                !~ '^[ \t\n\v\f\r]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?[ \t\n\v\f\r]*$'
                THEN true
            ELSE abs(balance::numeric) >= 1e20 OR balance::numeric <> trunc(balance::numeric, 18)
        END
        ORDER BY wallet_address, token_address
        LIMIT 10
    ) AS unfit;

    IF offending IS NOT NULL THEN
        RAISE EXCEPTION 'balances that numeric(38,18) cannot hold exactly: %', offending
            USING ERRCODE = 'numeric_value_out_of_range', HINT = 'Correct these rows, then migrate again.';
    END IF;
END
$$;


DROP INDEX agent_balances_token_address_idx;

ALTER TABLE agent_balances
    ALTER COLUMN balance TYPE numeric(38, 18) USING balance::numeric,
    ADD CONSTRAINT agent_balances_balance_check
    CHECK (balance >= 0.0 AND balance <> 'NaN');

-- balances.find_by_wallet_and_token and the trades.
CREATE INDEX agent_balances_token_address_wallet_address_idx ON agent_balances (token_address, wallet_address);
