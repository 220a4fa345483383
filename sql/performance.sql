-- Performance: the profit of an agent, or of one of its wallets. Model: Performance. The query only reads.

-- name: summarise :one
-- Realised profit is the sum over positions closed since :since (all of them when it is not given) and over
-- take-profits since then of positions that are still open. average_return_percent is the mean change_percent of closed
-- positions.
-- check: numeric win_rate_percent: ratio() rounds to four decimals
-- check: numeric average_return_percent: ratio() rounds to four decimals
-- check: numeric cost_basis_sol: ratio() rounds to eighteen decimals
SELECT
    closed.profit_loss_sol + taken.profit_loss_sol AS realized_profit_sol,
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
        coalesce(sum(profit_loss_sol), 0) AS profit_loss_sol,
        coalesce(sum(profit_loss_usd), 0) AS profit_loss_usd,
        coalesce(sum(change_percent), 0) AS change_percent
    FROM agent_historical_swaps
    WHERE agent_id = :agent_id
        AND wallet_address = :wallet_address -- if given
        AND sale_time >= :since -- if given
) AS closed
CROSS JOIN (
    SELECT coalesce(sum(t.realized_profit_sol), 0) AS profit_loss_sol
    FROM agent_positions AS p
    JOIN agent_transactions AS t ON t.id = ANY(p.take_profit_transaction_ids)
    WHERE p.agent_id = :agent_id
        AND p.wallet_address = :wallet_address -- if given
        AND t.transaction_time >= :since -- if given
) AS taken
CROSS JOIN (
    SELECT
        count(*) AS total,
        coalesce(
            sum(
                ratio(remaining_amount * total_invested_sol, purchase_amount, 18)
            ),
            0
        ) AS cost_basis_sol
    FROM agent_positions
    WHERE agent_id = :agent_id
        AND wallet_address = :wallet_address -- if given
) AS opened;
