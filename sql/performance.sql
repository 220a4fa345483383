-- Performance: the profit of an agent, or of one of its wallets. Model: Performance. The query only reads.

-- name: summarise :one
-- Realised profit is the sum of realized_profit_sol over the transactions from :since on and before :until (all of them
-- when neither is given), so that the summaries of any partition of time add up to the whole. average_return_percent is the
-- mean change_percent of the positions closed in that time. The cost basis of an open position is what was invested minus
-- what was received plus what was realised of it.
-- check: numeric win_rate_percent: ratio() rounds to four decimals
-- check: numeric average_return_percent: ratio() rounds to four decimals
SELECT
    sold.profit_loss_sol AS realized_profit_sol,
    closed.profit_loss_usd AS realized_profit_usd,
    closed.total AS closed_trades,
    closed.won AS won_trades,
    CASE WHEN closed.total > 0 THEN ratio(100 * closed.won, closed.total, 4) END AS win_rate_percent,
    CASE WHEN closed.total > 0 THEN ratio(closed.change_percent, closed.total, 4) END AS average_return_percent,
    opened.total AS open_positions,
    opened.cost_basis_sol
FROM (
    SELECT
        count(*) AS total,
        count(*) FILTER (WHERE profit_loss_sol > 0) AS won,
        sum(profit_loss_usd) AS profit_loss_usd,
        coalesce(sum(change_percent), 0) AS change_percent
    FROM agent_historical_swaps
    WHERE agent_id = :agent_id
        AND wallet_address = :wallet_address -- if given
        AND sale_time >= :since -- if given
        AND sale_time < :until -- if given
) AS closed
CROSS JOIN (
    SELECT coalesce(sum(realized_profit_sol), 0) AS profit_loss_sol
    FROM agent_transactions
    WHERE agent_id = :agent_id
        AND realized_profit_sol IS NOT NULL
        AND wallet_address = :wallet_address -- if given
        AND transaction_time >= :since -- if given
        AND transaction_time < :until -- if given
) AS sold
CROSS JOIN (
    SELECT
        count(*) AS total,
        coalesce(sum(total_invested_sol - proceeds_sol + realized_profit_sol), 0) AS cost_basis_sol
    FROM agent_positions
    WHERE agent_id = :agent_id
        AND wallet_address = :wallet_address -- if given
) AS opened;
