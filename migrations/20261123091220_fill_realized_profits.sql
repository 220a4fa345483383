-- transactional: false
-- Why: sales from before the column get the profit that they realised, so that sums over time hold for them, too. The sale
-- that closed a position gets the profit of its historical swap. Of an open position each take-profit gets its share, by
-- the cost basis of now; the last one gets the rest, so that together they have the position's figure.
-- Locks: one row at a time, each for an instant: every update is a transaction of its own. The search for them reads
-- agent_historical_swaps once; reads and writes go on.
-- Rollback loses: nothing; it leaves the figures, which go with their column.
--
-- Can be run again: what has a figure is left alone. What a service of the release before sells from now on has none: let
-- it end first.

DO $$
DECLARE
    sale record;
BEGIN
    -- Nothing is lost with the last of these commits: the migration's mark comes after them, and waits for the disk.
    PERFORM set_config('synchronous_commit', 'off', false);

    FOR sale IN
        SELECT
            s.sale_transaction_id AS id,
            sum(s.profit_loss_sol) AS profit_sol
        FROM agent_historical_swaps AS s
        WHERE s.sale_transaction_id IS NOT NULL AND s.profit_loss_sol <> 'NaN'
        GROUP BY s.sale_transaction_id
        UNION ALL
        SELECT
            taken.id,
            CASE
                WHEN taken.is_last
                    THEN taken.realized_profit_sol - sum(taken.share) OVER (PARTITION BY taken.position_id) + taken.share
                ELSE taken.share
            END AS profit_sol
        FROM (
            SELECT
                t.id,
                p.id AS position_id,
                p.realized_profit_sol,
                t.output_amount - coalesce(t.protocol_fee_sol, 0) - coalesce(t.network_fee_sol, 0)
                - ratio(t.input_amount * p.total_invested_sol, p.purchase_amount, 18) AS share,
                t.id = last_value(t.id) OVER (
                    PARTITION BY p.id
                    ORDER BY t.transaction_time, t.created_at, t.id
                    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
                ) AS is_last
            FROM agent_positions AS p
            JOIN agent_transactions AS t ON t.id = ANY(p.take_profit_transaction_ids)
            WHERE t.input_amount IS NOT NULL AND t.output_amount IS NOT NULL
        ) AS taken
        ORDER BY id
    LOOP
        UPDATE agent_transactions
        SET realized_profit_sol = sale.profit_sol
        WHERE id = sale.id AND realized_profit_sol IS NULL;
        COMMIT;
    END LOOP;
END
$$;
