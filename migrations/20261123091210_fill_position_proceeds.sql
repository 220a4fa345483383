-- transactional: false
-- Why: positions that were sold from before the column existed get their proceeds.
-- Locks: one row at a time, each for an instant: every update is a transaction of its own.
-- Rollback loses: nothing; it leaves the figures, which go with their column.
--
-- The proceeds are what the position's take-profits received. Where these are not recorded, they are derived from the
-- position's own figures, which is exact unless tokens were added after a sale.
-- Can be run again: what has proceeds is left alone. What a service of the release before sells from now on is not in
-- this figure: let it end first.

DO $$
DECLARE
    sold record;
BEGIN
    -- Nothing is lost with the last of these commits: the migration's mark comes after them, and waits for the disk.
    PERFORM set_config('synchronous_commit', 'off', false);

    FOR sold IN
        SELECT
            p.id,
            CASE
                WHEN t.sales > 0 AND t.sales = cardinality(p.take_profit_transaction_ids) THEN t.received_sol
                -- realised profit = proceeds - cost basis, cost basis = sold / bought x invested
                ELSE p.realized_profit_sol
                    + ratio((p.purchase_amount - p.remaining_amount) * p.total_invested_sol, p.purchase_amount, 18)
            END AS proceeds_sol
        FROM agent_positions AS p
        CROSS JOIN LATERAL (
            SELECT
                count(*) AS sales,
                sum(output_amount - coalesce(protocol_fee_sol, 0) - coalesce(network_fee_sol, 0)) AS received_sol
            FROM agent_transactions
            WHERE id = ANY(p.take_profit_transaction_ids) AND output_amount IS NOT NULL
        ) AS t
        WHERE p.remaining_amount < p.purchase_amount AND p.proceeds_sol = 0
    LOOP
        UPDATE agent_positions
        SET proceeds_sol = sold.proceeds_sol
        WHERE id = sold.id AND remaining_amount < purchase_amount AND proceeds_sol = 0;
        COMMIT;
    END LOOP;
END
$$;
