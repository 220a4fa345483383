-- The cache: what it is told of changes, and what it reads to catch up. Models: CacheChange, CachedAgent,
-- DatabaseIdentity. A row of cache_outbox is a committed change that the cache may not show yet. Triggers write it, in
-- the transaction of the change; whoever has brought the row, as it is by then, into the cache deletes it.
-- Lock order: none is taken but on rows of cache_outbox, which nobody waits for.

-- name: own_changes :many
-- What this transaction has changed so far, and the rows as they are now; beside NULLs what is gone. Nothing below
-- :seen can be its own: a version that was seen before it began.
SELECT
    o.version,
    o.entity,
    o.deleted,
    o.row_id,
    o.agent_id,
    o.wallet_address,
    o.token_address,
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
    b.id,
    b.agent_id,
    b.wallet_address,
    b.token_address,
    b.token_symbol,
    b.balance,
    b.last_updated,
    b.version,
    a.id,
    a.trading_mode,
    a.automated_trading_simulation,
    a.automated_trading_live,
    coalesce(a.trading_config, '{}')::text AS trading_config,
    a.version
FROM cache_outbox AS o
LEFT JOIN agent_positions AS p ON o.entity = 'position' AND p.id = o.row_id
LEFT JOIN agent_balances AS b ON o.entity = 'balance' AND b.id = o.row_id
LEFT JOIN agents AS a ON o.entity = 'agent' AND a.id = o.row_id
WHERE o.version > :seen AND o.xid = pg_current_xact_id_if_assigned()
ORDER BY o.version
LIMIT :limit;

-- name: take_changes :many
-- The oldest changes, taken off the queue for good when this transaction commits, and the rows as they are now. What
-- another process is taking at this moment is passed over.
WITH oldest AS (
    SELECT version
    FROM cache_outbox
    ORDER BY version
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
),

o AS (
    DELETE FROM cache_outbox
    WHERE version = ANY(ARRAY(SELECT version FROM oldest))
    RETURNING
        version,
        entity,
        deleted,
        row_id,
        agent_id,
        wallet_address,
        token_address
)

SELECT
    o.version,
    o.entity,
    o.deleted,
    o.row_id,
    o.agent_id,
    o.wallet_address,
    o.token_address,
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
    b.id,
    b.agent_id,
    b.wallet_address,
    b.token_address,
    b.token_symbol,
    b.balance,
    b.last_updated,
    b.version,
    a.id,
    a.trading_mode,
    a.automated_trading_simulation,
    a.automated_trading_live,
    coalesce(a.trading_config, '{}')::text AS trading_config,
    a.version
FROM o
LEFT JOIN agent_positions AS p ON o.entity = 'position' AND p.id = o.row_id
LEFT JOIN agent_balances AS b ON o.entity = 'balance' AND b.id = o.row_id
LEFT JOIN agents AS a ON o.entity = 'agent' AND a.id = o.row_id
ORDER BY o.version
LIMIT :limit;

-- name: has_changes :one
-- Whether a change up to this version waits to be brought into the cache.
SELECT
    coalesce(
        (
            SELECT true
            FROM cache_outbox
            WHERE version <= :version
            LIMIT 1
        ),
        false
    ) AS has_changes;

-- name: lag :one
-- For how many seconds the oldest change has waited; 0 when none does.
SELECT
    coalesce(
        (
            SELECT extract(EPOCH FROM clock_timestamp() - created_at)
            FROM cache_outbox
            ORDER BY version
            LIMIT 1
        ),
        0
    )::double precision AS seconds;

-- name: identity :one
-- The database: its cluster, the timeline that a failover or restore begins anew, its own number; and the last version.
-- check: not null name: a running primary has all three
SELECT
    (pg_control_system()).system_identifier || '.'
    || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.'
    || (pg_get_object_address('database', ARRAY[current_database()::text], '{}')).objid AS name,
    coalesce(pg_sequence_last_value('row_version_seq'), 0) AS last_version;

-- name: find_agent :optional
-- What is cached of an agent.
SELECT
    id,
    trading_mode,
    automated_trading_simulation,
    automated_trading_live,
    coalesce(trading_config, '{}')::text AS trading_config,
    version
FROM agents
WHERE id = :agent_id;

-- name: list_active_agents :many
-- The agents that trade by themselves in the mode that they are in.
SELECT id
FROM agents
WHERE CASE trading_mode WHEN 'live' THEN automated_trading_live ELSE automated_trading_simulation END
ORDER BY id
LIMIT :limit;

-- name: list_positions_of_token :many
-- The open positions in a token, of all agents, newest first.
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
ORDER BY created_at DESC, id DESC
LIMIT :limit;
