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

-- name: list_open :many
-- The open positions of all agents of all users, by id; those of these agents, or in these tokens, when they are given;
-- the page after the cursor when one is given. The ids are chosen first: with a condition of its own the planner reads
-- all positions in the order of their ids, until the page is full.
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
WHERE true
    AND id = ANY(ARRAY(SELECT a.id FROM agent_positions AS a WHERE a.agent_id = ANY(:agent_ids))) -- if given
    AND id = ANY(ARRAY(SELECT t.id FROM agent_positions AS t WHERE t.token_address = ANY(:token_addresses))) -- if given
    AND id > :after_id -- if given
ORDER BY id
LIMIT :limit;

-- name: stream_open :stream
-- All open positions of all agents of all users, by id; those of these agents, or in these tokens, when they are given.
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
WHERE true
    AND id = ANY(ARRAY(SELECT a.id FROM agent_positions AS a WHERE a.agent_id = ANY(:agent_ids))) -- if given
    AND id = ANY(ARRAY(SELECT t.id FROM agent_positions AS t WHERE t.token_address = ANY(:token_addresses))) -- if given
ORDER BY id;

-- name: list_open_tokens :many
-- The tokens in which any agent has an open position, each once, by address; the page after the cursor when one is
-- given.
SELECT
    token_address,
    count(*) AS positions
FROM agent_positions
WHERE token_address > :after_token -- if given
GROUP BY token_address
ORDER BY token_address
LIMIT :limit;

-- name: stream_open_tokens :stream
-- All tokens in which any agent has an open position, each once, by address. Counts a column that no index has: freshly
-- vacuumed or not, the plan is the same.
-- check: seq scan agent_positions: every position is counted
SELECT
    token_address,
    count(version) AS positions
FROM agent_positions
GROUP BY token_address
ORDER BY token_address;

-- name: list_by_token :many
-- All agents' open positions in the token, whose address is compared in its exact case, newest first; the page after the
-- cursor when one is given.
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
WHERE token_address = :token_address
    AND (created_at, id) < (:before_time, :before_id) -- if given
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: list_by_user :many
-- The open positions of all of the user's agents, newest first; the page after the cursor when one is given.
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
WHERE agent_id IN (
        SELECT id
        FROM agents
        WHERE user_id = :user_id
    )
    AND (created_at, id) < (:before_time, :before_id) -- if given
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: list_with_take_profit_activity :many
-- The agent's open positions of which a part was sold by take-profit, newest first; those of one wallet when it is
-- given; the page after the cursor when one is given. A sale may serve no level; an adopted position may lack the ids.
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
    AND (take_profit_levels_hit > 0 OR cardinality(take_profit_transaction_ids) > 0)
    AND wallet_address = :wallet_address -- if given
    AND (created_at, id) < (:before_time, :before_id) -- if given
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: list_moon_bags :many
-- The agent's open positions whose moon bag is activated, newest first; those of one wallet when it is given; the page
-- after the cursor when one is given.
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
    AND moon_bag_activated
    AND wallet_address = :wallet_address -- if given
    AND (created_at, id) < (:before_time, :before_id) -- if given
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: summarise_take_profits :one
-- The take-profits of the agent's open positions, or of one wallet's when it is given; zeros without a position.
SELECT
    count(*) AS open_positions,
    count(*) FILTER (WHERE take_profit_levels_hit > 0 OR cardinality(take_profit_transaction_ids) > 0) AS with_take_profits,
    coalesce(sum(take_profit_levels_hit), 0) AS levels_hit,
    count(*) FILTER (WHERE moon_bag_activated) AS moon_bags,
    coalesce(sum(realized_profit_sol), 0) AS realized_profit_sol,
    coalesce(sum(proceeds_sol), 0) AS proceeds_sol,
    max(last_take_profit_time) AS last_take_profit_time
FROM agent_positions
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address; -- if given

-- name: list_with_purchase :many
-- The agent's open positions, each beside the transaction that opened it, newest first; those of one wallet when it is
-- given; the page after the cursor when one is given.
SELECT
    p.id,
    p.agent_id,
    p.wallet_address,
    p.token_address,
    p.token_symbol,
    p.purchase_transaction_id,
    p.purchase_price,
    p.purchase_amount,
    p.current_stop_loss_percentage,
    p.peak_price,
    p.last_stop_loss_update,
    p.created_at,
    p.updated_at,
    p.dca_count,
    p.dca_transaction_ids,
    p.last_dca_time,
    p.lowest_price,
    p.total_invested_sol,
    p.remaining_amount,
    p.take_profit_levels_hit,
    p.take_profit_transaction_ids,
    p.last_take_profit_time,
    p.moon_bag_activated,
    p.moon_bag_amount,
    p.realized_profit_sol,
    p.tp_batch_start_level,
    p.total_take_profit_levels,
    p.version,
    p.proceeds_sol,
    t.id,
    t.agent_id,
    t.wallet_address,
    t.transaction_type,
    t.transaction_value_usd,
    t.transaction_time,
    t.destination_address,
    t.signal_id,
    t.fees,
    t.routes,
    t.input_mint,
    t.input_symbol,
    t.input_amount,
    t.input_price,
    t.output_mint,
    t.output_symbol,
    t.output_amount,
    t.output_price,
    t.slippage,
    t.price_impact,
    t.is_dca,
    t.transaction_hash,
    t.created_at,
    t.updated_at,
    t.swap_payload,
    t.is_take_profit,
    t.protocol_fee_sol,
    t.network_fee_sol,
    t.transaction_leg,
    t.realized_profit_sol,
    t.settled_dust
FROM agent_positions AS p
INNER JOIN agent_transactions AS t ON p.purchase_transaction_id = t.id
WHERE p.agent_id = :agent_id
    AND p.wallet_address = :wallet_address -- if given
    AND (p.created_at, p.id) < (:before_time, :before_id) -- if given
ORDER BY p.created_at DESC, p.id DESC, t.transaction_time DESC
LIMIT :limit;

-- name: stream_with_purchase :stream
-- All of the agent's open positions, each beside the transaction that opened it, newest first; those of one wallet when
-- it is given.
SELECT
    p.id,
    p.agent_id,
    p.wallet_address,
    p.token_address,
    p.token_symbol,
    p.purchase_transaction_id,
    p.purchase_price,
    p.purchase_amount,
    p.current_stop_loss_percentage,
    p.peak_price,
    p.last_stop_loss_update,
    p.created_at,
    p.updated_at,
    p.dca_count,
    p.dca_transaction_ids,
    p.last_dca_time,
    p.lowest_price,
    p.total_invested_sol,
    p.remaining_amount,
    p.take_profit_levels_hit,
    p.take_profit_transaction_ids,
    p.last_take_profit_time,
    p.moon_bag_activated,
    p.moon_bag_amount,
    p.realized_profit_sol,
    p.tp_batch_start_level,
    p.total_take_profit_levels,
    p.version,
    p.proceeds_sol,
    t.id,
    t.agent_id,
    t.wallet_address,
    t.transaction_type,
    t.transaction_value_usd,
    t.transaction_time,
    t.destination_address,
    t.signal_id,
    t.fees,
    t.routes,
    t.input_mint,
    t.input_symbol,
    t.input_amount,
    t.input_price,
    t.output_mint,
    t.output_symbol,
    t.output_amount,
    t.output_price,
    t.slippage,
    t.price_impact,
    t.is_dca,
    t.transaction_hash,
    t.created_at,
    t.updated_at,
    t.swap_payload,
    t.is_take_profit,
    t.protocol_fee_sol,
    t.network_fee_sol,
    t.transaction_leg,
    t.realized_profit_sol,
    t.settled_dust
FROM agent_positions AS p
INNER JOIN agent_transactions AS t ON p.purchase_transaction_id = t.id
WHERE p.agent_id = :agent_id
    AND p.wallet_address = :wallet_address -- if given
ORDER BY p.created_at DESC, p.id DESC, t.transaction_time DESC;
