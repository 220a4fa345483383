-- Transactions: the ledger. Model: AgentTransaction.
-- Rows are added by trades (sql/trades.sql) and never changed, but that a signal which is deleted is forgotten.

-- name: find_by_id :optional
-- The transaction of this id.
SELECT
    id,
    agent_id,
    wallet_address,
    transaction_type,
    transaction_value_usd,
    transaction_time,
    destination_address,
    signal_id,
    fees,
    routes,
    input_mint,
    input_symbol,
    input_amount,
    input_price,
    output_mint,
    output_symbol,
    output_amount,
    output_price,
    slippage,
    price_impact,
    is_dca,
    transaction_hash,
    created_at,
    updated_at,
    swap_payload,
    is_take_profit,
    protocol_fee_sol,
    network_fee_sol,
    transaction_leg,
    realized_profit_sol
FROM agent_transactions
WHERE id = :transaction_id;

-- name: list_by_agent :many
-- The agent's transactions, newest first, from the given place on.
SELECT
    id,
    agent_id,
    wallet_address,
    transaction_type,
    transaction_value_usd,
    transaction_time,
    destination_address,
    signal_id,
    fees,
    routes,
    input_mint,
    input_symbol,
    input_amount,
    input_price,
    output_mint,
    output_symbol,
    output_amount,
    output_price,
    slippage,
    price_impact,
    is_dca,
    transaction_hash,
    created_at,
    updated_at,
    swap_payload,
    is_take_profit,
    protocol_fee_sol,
    network_fee_sol,
    transaction_leg,
    realized_profit_sol
FROM agent_transactions
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address -- if given
    AND transaction_type = :transaction_type -- if given
    AND transaction_time >= :time_from -- if given
    AND transaction_time <= :time_to -- if given
    AND signal_id = :signal_id -- if given
    AND is_dca = :is_dca -- if given
    AND is_take_profit = :is_take_profit -- if given
    AND (transaction_time, id) < (:before_time, :before_id) -- if given
ORDER BY transaction_time DESC, id DESC
LIMIT :limit;

-- name: stream_by_agent :stream
-- The agent's transactions, newest first, all of them.
SELECT
    id,
    agent_id,
    wallet_address,
    transaction_type,
    transaction_value_usd,
    transaction_time,
    destination_address,
    signal_id,
    fees,
    routes,
    input_mint,
    input_symbol,
    input_amount,
    input_price,
    output_mint,
    output_symbol,
    output_amount,
    output_price,
    slippage,
    price_impact,
    is_dca,
    transaction_hash,
    created_at,
    updated_at,
    swap_payload,
    is_take_profit,
    protocol_fee_sol,
    network_fee_sol,
    transaction_leg,
    realized_profit_sol
FROM agent_transactions
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address -- if given
    AND transaction_type = :transaction_type -- if given
    AND transaction_time >= :time_from -- if given
    AND transaction_time <= :time_to -- if given
    AND signal_id = :signal_id -- if given
    AND is_dca = :is_dca -- if given
    AND is_take_profit = :is_take_profit -- if given
ORDER BY transaction_time DESC, id DESC;

-- name: count_by_agent :one
-- How many the agent's transactions are.
SELECT count(*) AS total
FROM agent_transactions
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address -- if given
    AND transaction_type = :transaction_type -- if given
    AND transaction_time >= :time_from -- if given
    AND transaction_time <= :time_to -- if given
    AND signal_id = :signal_id -- if given
    AND is_dca = :is_dca -- if given
    AND is_take_profit = :is_take_profit; -- if given
