-- Balance snapshots: one row per wallet and time. Model: AgentBalanceSnapshot.
-- A service writes one per hour, reads them as a time series, and deletes old ones.
-- Lock order: snapshots' rows only.

-- name: upsert :one
-- Stores the wallet's value at this time; a second snapshot of the same time replaces the first.
INSERT INTO agent_balance_snapshots (
    agent_id,
    wallet_address,
    snapshot_timestamp,
    portfolio_balance_sol,
    sol_balance,
    positions_value_sol,
    unrealized_pnl_sol
)
VALUES (
    :agent_id,
    :wallet_address,
    :snapshot_timestamp,
    :portfolio_balance_sol,
    :sol_balance,
    :positions_value_sol,
    :unrealized_pnl_sol
)
ON CONFLICT (agent_id, wallet_address, snapshot_timestamp) DO UPDATE
    SET
        portfolio_balance_sol = excluded.portfolio_balance_sol,
        sol_balance = excluded.sol_balance,
        positions_value_sol = excluded.positions_value_sol,
        unrealized_pnl_sol = excluded.unrealized_pnl_sol,
        updated_at = excluded.updated_at
RETURNING
    id,
    agent_id,
    snapshot_timestamp,
    portfolio_balance_sol,
    sol_balance,
    positions_value_sol,
    unrealized_pnl_sol,
    created_at,
    updated_at,
    wallet_address;

-- name: upsert_many :rows
-- Stores many snapshots in one statement; of two for the same wallet and time, the later in the lists wins.
INSERT INTO agent_balance_snapshots (
    agent_id,
    wallet_address,
    snapshot_timestamp,
    portfolio_balance_sol,
    sol_balance,
    positions_value_sol,
    unrealized_pnl_sol
)
SELECT DISTINCT ON (given.agent_id, given.wallet_address, given.snapshot_timestamp)
    given.agent_id,
    given.wallet_address,
    given.snapshot_timestamp,
    given.portfolio_balance_sol,
    given.sol_balance,
    given.positions_value_sol,
    given.unrealized_pnl_sol
FROM unnest(
    :agent_ids::uuid[],
    :wallet_addresses::text[],
    :snapshot_timestamps::timestamptz[],
    :portfolio_balances_sol::numeric[],
    :sol_balances::numeric[],
    :positions_values_sol::numeric[],
    :unrealized_pnls_sol::numeric[]
) WITH ORDINALITY AS given (
    agent_id,
    wallet_address,
    snapshot_timestamp,
    portfolio_balance_sol,
    sol_balance,
    positions_value_sol,
    unrealized_pnl_sol,
    ordinal
)
ORDER BY given.agent_id, given.wallet_address, given.snapshot_timestamp, given.ordinal DESC
ON CONFLICT (agent_id, wallet_address, snapshot_timestamp) DO UPDATE
    SET
        portfolio_balance_sol = excluded.portfolio_balance_sol,
        sol_balance = excluded.sol_balance,
        positions_value_sol = excluded.positions_value_sol,
        unrealized_pnl_sol = excluded.unrealized_pnl_sol,
        updated_at = excluded.updated_at;

-- name: list_hourly :many
-- The wallet's snapshots at or after this time, oldest first.
SELECT
    id,
    agent_id,
    snapshot_timestamp,
    portfolio_balance_sol,
    sol_balance,
    positions_value_sol,
    unrealized_pnl_sol,
    created_at,
    updated_at,
    wallet_address
FROM agent_balance_snapshots
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address
    AND snapshot_timestamp >= :since
ORDER BY snapshot_timestamp, id
LIMIT :limit;

-- name: list_daily :many
-- The wallet's snapshots of 00:00 UTC, independent of the session's time zone, oldest first.
SELECT
    id,
    agent_id,
    snapshot_timestamp,
    portfolio_balance_sol,
    sol_balance,
    positions_value_sol,
    unrealized_pnl_sol,
    created_at,
    updated_at,
    wallet_address
FROM agent_balance_snapshots
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address
    AND (snapshot_timestamp AT TIME ZONE 'UTC')::time = '00:00'
ORDER BY snapshot_timestamp, id
LIMIT :limit;

-- name: find_latest :optional
-- The wallet's latest snapshot.
SELECT
    id,
    agent_id,
    snapshot_timestamp,
    portfolio_balance_sol,
    sol_balance,
    positions_value_sol,
    unrealized_pnl_sol,
    created_at,
    updated_at,
    wallet_address
FROM agent_balance_snapshots
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address
ORDER BY snapshot_timestamp DESC
LIMIT 1;

-- name: delete_older_than :rows
-- Deletes up to :limit snapshots from before this time, oldest first; repeat it until it deletes fewer. It skips rows
-- that another session has locked.
-- ANY(ARRAY(...)) instead of IN: the plan uses the primary key at every limit. The time leaves out later partitions.
WITH old AS (
    SELECT id
    FROM agent_balance_snapshots
    WHERE snapshot_timestamp < :before
    ORDER BY snapshot_timestamp, id
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
DELETE FROM agent_balance_snapshots
WHERE id = ANY(ARRAY(SELECT old.id FROM old))
    AND snapshot_timestamp < :before;
