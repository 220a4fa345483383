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

-- name: count_changes :one
-- How many changes wait, counted up to a limit.
SELECT count(*) AS changes
FROM (
    SELECT true AS one
    FROM cache_outbox
    ORDER BY version
    LIMIT :limit
) AS waiting;

-- name: forget_changes :one
-- Puts one change of everything in the place of the oldest, where nobody has taken them for so long: whoever has a cache
-- later empties it first. How many were forgotten.
WITH oldest AS (
    SELECT
        version,
        created_at,
        entity
    FROM cache_outbox
    ORDER BY version
    LIMIT :limit
),

gone AS (
    DELETE FROM cache_outbox
    WHERE
        version = ANY(ARRAY(
            SELECT c.version
            FROM cache_outbox AS c
            WHERE
                c.version = ANY(ARRAY(
                    SELECT o.version
                    FROM oldest AS o
                    WHERE o.created_at < clock_timestamp() - :age_s * interval '1 second'
                ))
                AND EXISTS (
                    SELECT true
                    FROM oldest AS o
                    WHERE
                        o.created_at < clock_timestamp() - :age_s * interval '1 second'
                        AND o.entity <> 'everything'
                )
            FOR UPDATE SKIP LOCKED
        ))
    RETURNING version
),

everything AS (
    INSERT INTO cache_outbox (version, entity, deleted)
    SELECT
        nextval('row_version_seq') AS version,
        'everything' AS entity,
        true AS deleted
    WHERE EXISTS (SELECT true FROM gone)
)

SELECT count(*) AS changes
FROM gone;

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

-- Compared with what is cached, after that was read.

-- name: list_positions :many
-- The open ones among these positions.
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
WHERE id = ANY(:position_ids)
ORDER BY id
LIMIT :limit;

-- name: list_balances :many
-- The holdings of these wallets and tokens, pair by pair.
-- check: order: a pair that is named once comes once
SELECT
    b.id,
    b.agent_id,
    b.wallet_address,
    b.token_address,
    b.token_symbol,
    b.balance,
    b.last_updated,
    b.version
FROM unnest(:wallet_addresses::varchar[], :token_addresses::varchar[]) AS pair (wallet_address, token_address)
INNER JOIN agent_balances AS b ON pair.wallet_address = b.wallet_address AND pair.token_address = b.token_address
ORDER BY b.id
LIMIT :limit;

-- name: list_agents :many
-- What is cached of these agents.
SELECT
    id,
    trading_mode,
    automated_trading_simulation,
    automated_trading_live,
    coalesce(trading_config, '{}')::text AS trading_config,
    version
FROM agents
WHERE id = ANY(:agent_ids)
ORDER BY id
LIMIT :limit;

-- name: list_members_of_agents :many
-- The agents' open positions, each by its id.
SELECT
    agent_id::text AS owner,
    id::text AS member
FROM agent_positions
WHERE agent_id = ANY(:agent_ids)
ORDER BY agent_id, wallet_address, token_address
LIMIT :limit;

-- name: list_members_of_tokens :many
-- The open positions in the tokens, each by its id.
SELECT
    token_address AS owner,
    id::text AS member
FROM agent_positions
WHERE token_address = ANY(:token_addresses)
ORDER BY token_address, id
LIMIT :limit;

-- name: list_members_of_wallets :many
-- The wallets' holdings, each by its token. The owner is the agent and the wallet.
SELECT
    agent_id || ' ' || wallet_address AS owner,
    token_address AS member
FROM agent_balances
WHERE wallet_address = ANY(:wallet_addresses)
ORDER BY wallet_address, token_address
LIMIT :limit;

-- Page by page for a cache that is to be filled. Each page is a snapshot of its own: what is read too long before it is
-- cached is not cached, so no cursor over all of it would do.

-- name: count_rows :one
-- How much there is to be cached. By columns that no index has: freshly vacuumed or not, the plan is the same.
-- check: seq scan agents: all are counted
-- check: seq scan agent_balances: all are counted
-- check: seq scan agent_positions: all are counted
-- check: seq scan agent_wallets: all are counted
SELECT
    (SELECT count(updated_at) FROM agents) AS agents,
    (SELECT count(updated_at) FROM agent_wallets) AS wallets,
    (SELECT count(last_updated) FROM agent_balances) AS balances,
    (SELECT count(updated_at) FROM agent_positions) AS positions;

-- name: page_of_positions :many
-- The next positions by id.
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
WHERE id > :after
ORDER BY id
LIMIT :limit;

-- name: page_of_balances :many
-- The next balances by id.
SELECT
    id,
    agent_id,
    wallet_address,
    token_address,
    token_symbol,
    balance,
    last_updated,
    version
FROM agent_balances
WHERE id > :after
ORDER BY id
LIMIT :limit;

-- name: page_of_agents :many
-- The next agents by id.
SELECT
    id,
    trading_mode,
    automated_trading_simulation,
    automated_trading_live,
    coalesce(trading_config, '{}')::text AS trading_config,
    version
FROM agents
WHERE id > :after
ORDER BY id
LIMIT :limit;

-- name: page_of_wallets :many
-- The next wallets by address.
SELECT
    wallet_address,
    agent_id
FROM agent_wallets
WHERE wallet_address > :after
ORDER BY wallet_address
LIMIT :limit;

-- name: page_of_tokens :many
-- The next tokens that positions are open in, by address.
SELECT token_address
FROM agent_positions
WHERE token_address > :after
GROUP BY token_address
ORDER BY token_address
LIMIT :limit;
