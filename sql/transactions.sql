-- Transactions: the ledger. Model: AgentTransaction.
-- Rows are added by trades (sql/trades.sql) and never changed.

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
    transaction_leg
FROM agent_transactions
WHERE id = :transaction_id;

-- name: list_by_agent :many
-- The agent's transactions, of one wallet or of all, newest first.
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
    transaction_leg
FROM agent_transactions
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address -- if given
ORDER BY transaction_time DESC, id DESC
LIMIT :limit;
