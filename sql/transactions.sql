-- Transactions: the ledger, one row per movement of value. Model: AgentTransaction.
-- Trades insert them (sql/trades.sql), after all locks of the trade. Rows are never changed, except that signal_id
-- becomes NULL when the signal is deleted, and that wallet_address follows the wallet's address.

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
    realized_profit_sol,
    settled_dust
FROM agent_transactions
WHERE id = :transaction_id;

-- name: list_by_ids :many
-- Those of these transactions that exist, by id.
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
    realized_profit_sol,
    settled_dust
FROM agent_transactions
WHERE id = ANY(:transaction_ids)
ORDER BY id, transaction_time
LIMIT 10000; -- the caller's maximum

-- name: list_by_agent :many
-- The agent's transactions, newest first; the page after the cursor when one is given. The cursor's time alone leaves out
-- partitions: the comparison of rows does not.
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
    realized_profit_sol,
    settled_dust
FROM agent_transactions
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address -- if given
    AND transaction_type = :transaction_type -- if given
    AND transaction_time >= :time_from -- if given
    AND transaction_time <= :time_to -- if given
    AND signal_id = :signal_id -- if given
    AND is_dca = :is_dca -- if given
    AND is_take_profit = :is_take_profit -- if given
    AND transaction_time <= :before_time AND (transaction_time, id) < (:before_time, :before_id) -- if given
ORDER BY transaction_time DESC, id DESC
LIMIT :limit;

-- name: stream_by_agent :stream
-- All of the agent's transactions, newest first.
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
    realized_profit_sol,
    settled_dust
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
-- The number of the agent's transactions.
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
