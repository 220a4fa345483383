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
-- The agent's closed trades, newest first, from the given place on.
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
    AND token_address = :token_address -- if given
    AND token_symbol = :token_symbol -- if given
    AND purchase_time >= :purchase_time_from -- if given
    AND purchase_time <= :purchase_time_to -- if given
    AND sale_time >= :sale_time_from -- if given
    AND sale_time <= :sale_time_to -- if given
    AND signal_id = :signal_id -- if given
    AND purchase_transaction_id = ANY(:purchase_transaction_ids) -- if given
    AND sale_transaction_id = ANY(:sale_transaction_ids) -- if given
    AND profit_loss_sol >= :min_profit_loss_sol -- if given
    AND profit_loss_sol <= :max_profit_loss_sol -- if given
    AND (sale_time, id) < (:before_time, :before_id) -- if given
ORDER BY sale_time DESC, id DESC
LIMIT :limit;

-- name: stream_by_agent :stream
-- The agent's closed trades, newest first, all of them.
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
    AND token_address = :token_address -- if given
    AND token_symbol = :token_symbol -- if given
    AND purchase_time >= :purchase_time_from -- if given
    AND purchase_time <= :purchase_time_to -- if given
    AND sale_time >= :sale_time_from -- if given
    AND sale_time <= :sale_time_to -- if given
    AND signal_id = :signal_id -- if given
    AND purchase_transaction_id = ANY(:purchase_transaction_ids) -- if given
    AND sale_transaction_id = ANY(:sale_transaction_ids) -- if given
    AND profit_loss_sol >= :min_profit_loss_sol -- if given
    AND profit_loss_sol <= :max_profit_loss_sol -- if given
ORDER BY sale_time DESC, id DESC;

-- name: count_by_agent :one
-- How many the agent's closed trades are.
SELECT count(*) AS total
FROM agent_historical_swaps
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address -- if given
    AND token_address = :token_address -- if given
    AND token_symbol = :token_symbol -- if given
    AND purchase_time >= :purchase_time_from -- if given
    AND purchase_time <= :purchase_time_to -- if given
    AND sale_time >= :sale_time_from -- if given
    AND sale_time <= :sale_time_to -- if given
    AND signal_id = :signal_id -- if given
    AND purchase_transaction_id = ANY(:purchase_transaction_ids) -- if given
    AND sale_transaction_id = ANY(:sale_transaction_ids) -- if given
    AND profit_loss_sol >= :min_profit_loss_sol -- if given
    AND profit_loss_sol <= :max_profit_loss_sol; -- if given

-- name: total_by_wallet :one
-- How many trades the wallet has closed, and what they brought in SOL.
SELECT
    count(*) AS closed,
    coalesce(sum(profit_loss_sol), 0) AS profit_loss_sol
FROM agent_historical_swaps
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address;
