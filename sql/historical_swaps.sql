-- Historical swaps: one row for each closed position. Model: AgentHistoricalSwap.
-- Written by the sale that closes the position (sql/trades.sql), in its transaction.

-- name: find_by_id :optional
-- The closed trade of this id.
SELECT
    id,
    agent_id,
    wallet_address,
    token_address,
    token_symbol,
    amount,
    purchase_price,
    sale_price,
    change_percent,
    profit_loss_usd,
    profit_loss_sol,
    purchase_time,
    sale_time,
    purchase_transaction_id,
    sale_transaction_id,
    signal_id,
    created_at,
    close_reason
FROM agent_historical_swaps
WHERE id = :swap_id;

-- name: list_by_agent :many
-- The agent's closed trades, of one wallet or of all, last sold first.
SELECT
    id,
    agent_id,
    wallet_address,
    token_address,
    token_symbol,
    amount,
    purchase_price,
    sale_price,
    change_percent,
    profit_loss_usd,
    profit_loss_sol,
    purchase_time,
    sale_time,
    purchase_transaction_id,
    sale_transaction_id,
    signal_id,
    created_at,
    close_reason
FROM agent_historical_swaps
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address -- if given
ORDER BY sale_time DESC, id DESC
LIMIT :limit;

-- name: total_by_wallet :one
-- How many trades the wallet has closed, and what they brought in SOL.
SELECT
    count(*) AS closed,
    coalesce(sum(profit_loss_sol), 0) AS profit_loss_sol
FROM agent_historical_swaps
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address;
