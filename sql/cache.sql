-- The cache's queries: its outbox, and the rows that it caches. Models: CacheChange, CachedAgent, DatabaseIdentity. A row
-- of cache_outbox is a committed change that the cache may not hold yet. Trades and triggers write it, in the transaction
-- of the change; the relay deletes it after it has applied the current row to the cache.
-- Lock order: only rows of cache_outbox are locked, with SKIP LOCKED: no query waits for them.

-- name: own_changes :many
-- The last change of each row by this transaction so far, with the current row; NULLs stand for a deleted row. A hundred
-- trades of one wallet change its SOL balance a hundred times; it comes back once. :seen is a version that was given before
-- the transaction began: all of its changes have higher ones.
-- check: values entity: an entry's own, but for a trade's and prices', which become these two
WITH changed AS (
    SELECT DISTINCT ON (c.entity, c.row_id, o.wallet_address, c.token_address)
        o.version,
        c.entity,
        c.deleted,
        c.row_id,
        o.agent_id,
        o.wallet_address,
        c.token_address
    FROM cache_outbox AS o
    CROSS JOIN LATERAL (
        SELECT
            o.entity,
            o.deleted,
            o.row_id,
            o.token_address
        WHERE o.entity NOT IN ('trade', 'prices')
        UNION ALL
        SELECT
            'position',
            o.deleted,
            position.id,
            position.token
        FROM unnest(o.position_ids, o.position_tokens) AS position (id, token)
        UNION ALL
        SELECT
            'balance',
            false,
            NULL,
            balance.token
        FROM unnest(o.token_addresses) AS balance (token)
    ) AS c
    WHERE o.version > :seen AND o.xid = pg_current_xact_id_if_assigned()
    ORDER BY c.entity, c.row_id, o.wallet_address, c.token_address, o.version DESC
)

SELECT
    c.version,
    c.entity,
    c.deleted,
    coalesce(c.row_id, b.id) AS row_id,
    coalesce(c.agent_id, p.agent_id) AS agent_id,
    c.wallet_address,
    c.token_address,
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
FROM changed AS c
LEFT JOIN agent_positions AS p ON c.entity = 'position' AND p.id = c.row_id
LEFT JOIN agent_balances AS b
    ON c.entity = 'balance' AND b.wallet_address = c.wallet_address AND b.token_address = c.token_address
LEFT JOIN agents AS a ON c.entity = 'agent' AND a.id = c.row_id
ORDER BY c.version, c.entity, c.row_id, c.token_address
LIMIT :limit;

-- name: take_changes :many
-- The oldest changes, deleted from the outbox when this transaction commits, with the current rows. Skips changes that
-- another process is relaying. The entry of a trade or of prices becomes one row for each balance and position that it changed.
-- check: limit: the changes of :limit entries; none of these may be left out
-- check: order: an entry has each balance and position once
-- check: values entity: an entry's own, but for a trade's and prices', which become these two
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
        token_address,
        token_addresses,
        position_ids,
        position_tokens
)

SELECT
    o.version,
    c.entity,
    c.deleted,
    coalesce(c.row_id, b.id) AS row_id,
    coalesce(o.agent_id, p.agent_id) AS agent_id,
    o.wallet_address,
    c.token_address,
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
CROSS JOIN LATERAL (
    SELECT
        o.entity,
        o.deleted,
        o.row_id,
        o.token_address
    WHERE o.entity NOT IN ('trade', 'prices')
    UNION ALL
    SELECT
        'position',
        o.deleted,
        position.id,
        position.token
    FROM unnest(o.position_ids, o.position_tokens) AS position (id, token)
    UNION ALL
    SELECT
        'balance',
        false,
        NULL,
        balance.token
    FROM unnest(o.token_addresses) AS balance (token)
) AS c
LEFT JOIN agent_positions AS p ON c.entity = 'position' AND p.id = c.row_id
LEFT JOIN agent_balances AS b
    ON c.entity = 'balance' AND b.wallet_address = o.wallet_address AND b.token_address = c.token_address
LEFT JOIN agents AS a ON c.entity = 'agent' AND a.id = c.row_id
ORDER BY o.version, c.entity, c.row_id, c.token_address;

-- name: has_changes :one
-- Does the outbox hold a change up to this version?
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
-- The age in seconds of the oldest change; 0 when the outbox is empty.
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

-- name: age_of_changes :one
-- The age in seconds of the oldest change that was neither relayed nor compacted; 0 when there is none. A flush entry does
-- not count: one stays until a process with a cache relays it.
SELECT
    coalesce(
        (
            SELECT extract(EPOCH FROM clock_timestamp() - created_at)
            FROM cache_outbox
            WHERE entity <> 'everything'
            ORDER BY version
            LIMIT 1
        ),
        0
    )::double precision AS seconds;

-- name: count_changes :one
-- The number of changes in the outbox, counted up to a limit.
SELECT count(*) AS changes
FROM (
    SELECT true AS one
    FROM cache_outbox
    ORDER BY version
    LIMIT :limit
) AS waiting;

-- name: compact_outbox :one
-- Replaces the oldest changes that are older than :age_s by one flush entry: a process with a cache empties the cache when
-- it relays the entry. Returns the number of replaced changes.
SELECT coalesce(compact_outbox_v1(:age_s, :limit), 0) AS changes;

-- name: identity :one
-- The database's identity: its cluster, its timeline (a failover or a restore starts a new one), its OID and that of the
-- schema; and the last version.
-- check: not null name: a running primary has all of them
SELECT
    (pg_control_system()).system_identifier || '.'
    || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.'
    || (pg_get_object_address('database', ARRAY[current_database()::text], '{}')).objid || '.'
    || 'row_version_seq'::regclass::oid AS name,
    coalesce(pg_sequence_last_value('row_version_seq'), 0) AS last_version;

-- name: find_agent :optional
-- The cached columns of an agent.
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
-- The agents whose automated trading is on in their trading mode.
SELECT id
FROM agents
WHERE CASE trading_mode WHEN 'live' THEN automated_trading_live ELSE automated_trading_simulation END
ORDER BY id
LIMIT :limit;

-- name: list_positions_of_token :many
-- All agents' open positions in a token, whose address may be in any case, newest first.
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
WHERE lower(token_address COLLATE "C") = lower(:token_address COLLATE "C")
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- For comparisons with cached entries, which are read before.

-- name: list_positions :many
-- Those of these positions that are open.
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
-- The balances of these pairs of wallet and token.
-- check: order: a pair that is given once returns at most one row
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
-- The cached columns of these agents.
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
-- The ids of these agents' open positions.
SELECT
    agent_id::text AS owner,
    id::text AS member
FROM agent_positions
WHERE agent_id = ANY(:agent_ids)
ORDER BY agent_id, wallet_address, token_address
LIMIT :limit;

-- name: list_members_of_tokens :many
-- The ids of the open positions in these tokens, which are in lower case, as the sets' owners are.
SELECT
    lower(token_address COLLATE "C") AS owner,
    id::text AS member
FROM agent_positions
WHERE lower(token_address COLLATE "C") = ANY(:token_addresses)
ORDER BY lower(token_address COLLATE "C"), id
LIMIT :limit;

-- name: list_members_of_wallets :many
-- The tokens of these wallets' balances. The owner is the agent's id and the wallet's address.
SELECT
    agent_id || ' ' || wallet_address AS owner,
    token_address AS member
FROM agent_balances
WHERE wallet_address = ANY(:wallet_addresses)
ORDER BY wallet_address, token_address
LIMIT :limit;

-- Pages for the warming of the cache. Each page is a snapshot of its own: a row that was read too long ago is not cached,
-- so one cursor over all rows would not do.

-- name: count_rows :one
-- The number of cacheable rows. Counts columns that no index has: freshly vacuumed or not, the plan is the same.
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
-- The next page of positions, by id.
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
-- The next page of balances, by id.
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
-- The next page of agents, by id.
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
-- The next page of wallets, by address.
SELECT
    wallet_address,
    agent_id
FROM agent_wallets
WHERE wallet_address > :after
ORDER BY wallet_address
LIMIT :limit;

-- name: page_of_tokens :many
-- The next page of tokens with open positions, in lower case, by address.
SELECT lower(token_address COLLATE "C") AS token_address
FROM agent_positions
WHERE lower(token_address COLLATE "C") > :after
GROUP BY lower(token_address COLLATE "C")
ORDER BY lower(token_address COLLATE "C")
LIMIT :limit;
