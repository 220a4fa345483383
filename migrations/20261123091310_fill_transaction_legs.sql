-- transactional: false
-- Why: where a wallet has a hash more than once, its transactions become legs 0, 1, 2 in the order of their times.
-- Locks: one row at a time, each for an instant: every update is a transaction of its own. The search for them reads
-- agent_transactions once and sorts it; reads and writes go on.
-- Rollback loses: nothing; it leaves the numbers, which go with their column.
--
-- Can be run again: the numbers come out the same, and what is done is not done again.

DO $$
DECLARE
    repeated record;
BEGIN
    -- Nothing is lost with the last of these commits: the migration's mark comes after them, and waits for the disk.
    PERFORM set_config('synchronous_commit', 'off', false);

    FOR repeated IN
        SELECT
            id,
            leg
        FROM (
            SELECT
                id,
                transaction_leg,
                row_number() OVER (
                    PARTITION BY wallet_address, transaction_hash
                    ORDER BY transaction_time, created_at, id
                ) - 1 AS leg
            FROM agent_transactions
            WHERE transaction_hash IS NOT NULL AND wallet_address IS NOT NULL
        ) AS numbered
        WHERE leg <> transaction_leg
    LOOP
        UPDATE agent_transactions
        SET transaction_leg = repeated.leg
        WHERE id = repeated.id AND transaction_leg <> repeated.leg;
        COMMIT;
    END LOOP;
END
$$;
