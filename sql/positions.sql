-- Positions: one row for each token a wallet has bought and not yet sold. Model: AgentPosition.
-- Trades open, change and delete them (sql/trades.sql). Lock order: after the wallet's row, before its balances.

-- name: find_by_id :optional
-- The open position, or nothing once it is closed.
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
-- The wallet's open position in this token; there is one at the most.
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
-- The agent's open positions, of one wallet or of all, newest first.
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
-- How many positions the wallet has open, and what their take-profits have brought so far, in SOL.
SELECT
    count(*) AS open,
    coalesce(sum(realized_profit_sol), 0) AS realized_profit_sol
FROM agent_positions
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address;
