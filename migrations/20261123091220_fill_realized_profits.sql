-- transactional: false
-- Why: sales from before the column get the profit that they realised, so that sums over time hold for them, too.
-- Locks: one row at a time, each for an instant: every update is a transaction of its own. The search for them reads
-- agent_transactions and agent_historical_swaps once; reads and writes go on.
-- Rollback loses: nothing; it leaves the figures, which go with their column.
--
-- A take-profit's profit is what it received less its cost basis: sold / bought x invested, of what was bought until then.
-- The last sale of a position gets the rest of the figure that the position has, or its historical swap once it is closed,
-- so that together they have exactly that. Take-profits of a closed position are those of its wallet and token from its
-- purchase to its sale: a wallet has one position in a token at a time.
-- Can be run again: what has a figure is left alone. What a service of the release before sells from now on has none: let
-- it end first.

DO $$
DECLARE
    sale record;
BEGIN
    -- Nothing is lost with the last of these commits: the migration's mark comes after them, and waits for the disk.
    PERFORM set_config('synchronous_commit', 'off', false);

    FOR sale IN
        WITH closed AS (
            SELECT
                sale_transaction_id,
                wallet_address,
                token_address,
                array_agg(purchase_transaction_id) AS purchase_transaction_ids,
                min(purchase_time) AS purchase_time,
                max(sale_time) AS sale_time,
                sum(profit_loss_sol) AS profit_sol
            FROM agent_historical_swaps
            WHERE sale_transaction_id IS NOT NULL AND profit_loss_sol <> 'NaN'
            GROUP BY sale_transaction_id, wallet_address, token_address
        ),

        leg AS (
            SELECT
                id AS position_id,
                realized_profit_sol AS profit_sol,
                purchase_amount,
                total_invested_sol,
                unnest(purchase_transaction_id || dca_transaction_ids) AS transaction_id,
                'purchase' AS kind
            FROM agent_positions
            UNION ALL
            SELECT
                id,
                realized_profit_sol,
                purchase_amount,
                total_invested_sol,
                unnest(take_profit_transaction_ids),
                'sale'
            FROM agent_positions
            UNION ALL
            SELECT sale_transaction_id, profit_sol, NULL, NULL, unnest(purchase_transaction_ids), 'purchase'
            FROM closed
            UNION ALL
            SELECT sale_transaction_id, profit_sol, NULL, NULL, sale_transaction_id, 'last sale'
            FROM closed
            UNION ALL
            SELECT
                c.sale_transaction_id,
                c.profit_sol,
                NULL,
                NULL,
                t.id,
                CASE WHEN t.is_take_profit THEN 'sale' ELSE 'purchase' END
            FROM closed AS c
            JOIN agent_transactions AS t
                ON t.wallet_address = c.wallet_address
                AND CASE WHEN t.is_take_profit THEN t.input_mint WHEN t.is_dca THEN t.output_mint END = c.token_address
            WHERE t.transaction_time > c.purchase_time
                AND t.transaction_time < c.sale_time
                AND t.id <> c.sale_transaction_id
                AND t.id <> ALL(array_remove(c.purchase_transaction_ids, NULL))
        ),

        priced AS (
            SELECT
                l.position_id,
                l.profit_sol,
                l.transaction_id,
                l.kind,
                t.input_amount AS sold,
                t.output_amount - fee.sol AS received_sol,
                coalesce(
                    nullif(sum(t.output_amount) FILTER (WHERE l.kind = 'purchase') OVER until_then, 0),
                    l.purchase_amount
                ) AS bought,
                coalesce(
                    sum(t.input_amount + fee.sol) FILTER (WHERE l.kind = 'purchase') OVER until_then,
                    l.total_invested_sol
                ) AS invested_sol,
                row_number() OVER backwards = 1 AS is_last
            FROM leg AS l
            JOIN agent_transactions AS t ON t.id = l.transaction_id
            CROSS JOIN LATERAL (
                SELECT coalesce(t.protocol_fee_sol, 0) + coalesce(t.network_fee_sol, 0) AS sol
            ) AS fee
            WINDOW
                until_then AS (
                    PARTITION BY l.position_id
                    ORDER BY l.kind = 'last sale', t.transaction_time, t.created_at, l.kind, t.id
                    ROWS UNBOUNDED PRECEDING
                ),
                backwards AS (
                    PARTITION BY l.position_id, l.kind = 'purchase'
                    ORDER BY l.kind = 'last sale' DESC, t.transaction_time DESC, t.created_at DESC, t.id DESC
                )
        )

        SELECT
            transaction_id AS id,
            CASE
                WHEN is_last
                    THEN profit_sol - coalesce(sum(share_sol) FILTER (WHERE NOT is_last) OVER (PARTITION BY position_id), 0)
                ELSE share_sol
            END AS profit_sol
        FROM (
            SELECT
                position_id,
                profit_sol,
                transaction_id,
                is_last,
                received_sol - ratio(sold * invested_sol, bought, 18) AS share_sol
            FROM priced
            WHERE kind <> 'purchase'
        ) AS sales
        ORDER BY id
    LOOP
        UPDATE agent_transactions
        SET realized_profit_sol = sale.profit_sol
        WHERE id = sale.id AND realized_profit_sol IS NULL AND sale.profit_sol IS NOT NULL;
        COMMIT;
    END LOOP;
END
$$;
