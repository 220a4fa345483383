-- Positions: one row per wallet and token that was bought and is not sold out. Model: AgentPosition.
-- Trades insert, update and delete them (sql/trades.sql). Lock order: after the wallet's row, before its balances.

-- name: find_by_id :optional
-- The open position of this id; no row comes back once it is closed.
SELECT
    id,
    agent_id,
    wallet_address,
    token_address,
    token_symbol,
    purchase_transaction_id,
    purchase_price,
    purchase_amount,
    current_stop_loss_percentage,
    peak_price,
    last_stop_loss_update,
    created_at,
    updated_at,
    dca_count,
    dca_transaction_ids,
    last_dca_time,
    lowest_price,
    total_invested_sol,
    remaining_amount,
    take_profit_levels_hit,
    take_profit_transaction_ids,
    last_take_profit_time,
    moon_bag_activated,
    moon_bag_amount,
    realized_profit_sol,
    tp_batch_start_level,
    total_take_profit_levels,
    version,
    proceeds_sol
FROM agent_positions
WHERE id = :position_id;

-- name: find_by_wallet_and_token :optional
-- The wallet's open position in this token, of which there is at most one.
SELECT
    id,
    agent_id,
    wallet_address,
    token_address,
    token_symbol,
    purchase_transaction_id,
    purchase_price,
    purchase_amount,
    current_stop_loss_percentage,
    peak_price,
    last_stop_loss_update,
    created_at,
    updated_at,
    dca_count,
    dca_transaction_ids,
    last_dca_time,
    lowest_price,
    total_invested_sol,
    remaining_amount,
    take_profit_levels_hit,
    take_profit_transaction_ids,
    last_take_profit_time,
    moon_bag_activated,
    moon_bag_amount,
    realized_profit_sol,
    tp_batch_start_level,
    total_take_profit_levels,
    version,
    proceeds_sol
FROM agent_positions
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address
    AND token_address = :token_address;

-- name: list_by_agent :many
-- The agent's open positions, newest first; those of one wallet when it is given.
SELECT
    id,
    agent_id,
    wallet_address,
    token_address,
    token_symbol,
    purchase_transaction_id,
    purchase_price,
    purchase_amount,
    current_stop_loss_percentage,
    peak_price,
    last_stop_loss_update,
    created_at,
    updated_at,
    dca_count,
    dca_transaction_ids,
    last_dca_time,
    lowest_price,
    total_invested_sol,
    remaining_amount,
    take_profit_levels_hit,
    take_profit_transaction_ids,
    last_take_profit_time,
    moon_bag_activated,
    moon_bag_amount,
    realized_profit_sol,
    tp_batch_start_level,
    total_take_profit_levels,
    version,
    proceeds_sol
FROM agent_positions
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address -- if given
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: total_by_wallet :one
-- The number of the wallet's open positions, and the profit that their take-profits have realised, in SOL.
SELECT
    count(*) AS open,
    coalesce(sum(realized_profit_sol), 0) AS realized_profit_sol
FROM agent_positions
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address;
