-- Historical swaps: one row per closed position. Models: AgentHistoricalSwap, TradingSignal.
-- The sale that closes the position inserts the row, in the same transaction (sql/trades.sql). No query locks it.

-- name: find_by_id :optional
-- The historical swap of this id.
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
-- The agent's historical swaps, newest first; the page after the cursor when one is given. The cursor's time alone leaves
-- out partitions: the comparison of rows does not.
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
    AND profit_loss_usd >= :min_profit_loss_usd -- if given
    AND profit_loss_usd <= :max_profit_loss_usd -- if given
    AND sale_time <= :before_time AND (sale_time, id) < (:before_time, :before_id) -- if given
ORDER BY sale_time DESC, id DESC
LIMIT :limit;

-- name: stream_by_agent :stream
-- All of the agent's historical swaps, newest first.
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
    AND profit_loss_usd >= :min_profit_loss_usd -- if given
    AND profit_loss_usd <= :max_profit_loss_usd -- if given
ORDER BY sale_time DESC, id DESC;

-- name: list_with_signal :many
-- The agent's historical swaps, each with its signal, newest first; the page after the cursor when one is given.
SELECT
    s.id,
    s.agent_id,
    s.wallet_address,
    s.token_address,
    s.token_symbol,
    s.amount,
    s.purchase_price,
    s.sale_price,
    s.change_percent,
    s.profit_loss_usd,
    s.profit_loss_sol,
    s.purchase_time,
    s.sale_time,
    s.purchase_transaction_id,
    s.sale_transaction_id,
    s.signal_id,
    s.created_at,
    s.close_reason,
    g.id,
    g.created_at,
    g.updated_at,
    g.token_address,
    g.symbol,
    g.signal_type,
    g.activation_reason,
    g.signal_strength,
    g.source,
    g.user_id
FROM agent_historical_swaps AS s
LEFT JOIN trading_signals AS g ON g.id = s.signal_id
WHERE s.agent_id = :agent_id
    AND s.wallet_address = :wallet_address -- if given
    AND s.token_address = :token_address -- if given
    AND s.token_symbol = :token_symbol -- if given
    AND s.purchase_time >= :purchase_time_from -- if given
    AND s.purchase_time <= :purchase_time_to -- if given
    AND s.sale_time >= :sale_time_from -- if given
    AND s.sale_time <= :sale_time_to -- if given
    AND s.signal_id = :signal_id -- if given
    AND s.purchase_transaction_id = ANY(:purchase_transaction_ids) -- if given
    AND s.sale_transaction_id = ANY(:sale_transaction_ids) -- if given
    AND s.profit_loss_sol >= :min_profit_loss_sol -- if given
    AND s.profit_loss_sol <= :max_profit_loss_sol -- if given
    AND s.profit_loss_usd >= :min_profit_loss_usd -- if given
    AND s.profit_loss_usd <= :max_profit_loss_usd -- if given
    AND s.sale_time <= :before_time AND (s.sale_time, s.id) < (:before_time, :before_id) -- if given
ORDER BY s.sale_time DESC, s.id DESC
LIMIT :limit;

-- name: stream_with_signal :stream
-- All of the agent's historical swaps, each with its signal, newest first.
SELECT
    s.id,
    s.agent_id,
    s.wallet_address,
    s.token_address,
    s.token_symbol,
    s.amount,
    s.purchase_price,
    s.sale_price,
    s.change_percent,
    s.profit_loss_usd,
    s.profit_loss_sol,
    s.purchase_time,
    s.sale_time,
    s.purchase_transaction_id,
    s.sale_transaction_id,
    s.signal_id,
    s.created_at,
    s.close_reason,
    g.id,
    g.created_at,
    g.updated_at,
    g.token_address,
    g.symbol,
    g.signal_type,
    g.activation_reason,
    g.signal_strength,
    g.source,
    g.user_id
FROM agent_historical_swaps AS s
LEFT JOIN trading_signals AS g ON g.id = s.signal_id
WHERE s.agent_id = :agent_id
    AND s.wallet_address = :wallet_address -- if given
    AND s.token_address = :token_address -- if given
    AND s.token_symbol = :token_symbol -- if given
    AND s.purchase_time >= :purchase_time_from -- if given
    AND s.purchase_time <= :purchase_time_to -- if given
    AND s.sale_time >= :sale_time_from -- if given
    AND s.sale_time <= :sale_time_to -- if given
    AND s.signal_id = :signal_id -- if given
    AND s.purchase_transaction_id = ANY(:purchase_transaction_ids) -- if given
    AND s.sale_transaction_id = ANY(:sale_transaction_ids) -- if given
    AND s.profit_loss_sol >= :min_profit_loss_sol -- if given
    AND s.profit_loss_sol <= :max_profit_loss_sol -- if given
    AND s.profit_loss_usd >= :min_profit_loss_usd -- if given
    AND s.profit_loss_usd <= :max_profit_loss_usd -- if given
ORDER BY s.sale_time DESC, s.id DESC;

-- name: count_by_agent :one
-- The number of the agent's historical swaps.
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
    AND profit_loss_sol <= :max_profit_loss_sol -- if given
    AND profit_loss_usd >= :min_profit_loss_usd -- if given
    AND profit_loss_usd <= :max_profit_loss_usd; -- if given

-- name: total_by_wallet :one
-- The number of the wallet's historical swaps, and their total profit in SOL.
SELECT
    count(*) AS closed,
    coalesce(sum(profit_loss_sol), 0) AS profit_loss_sol
FROM agent_historical_swaps
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address;
