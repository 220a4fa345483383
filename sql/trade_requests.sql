-- Trade requests: one row per executed trade, with the trade's id. Model: TradeRequest.
-- Trades insert them (sql/trades.sql) to detect a repeated order. Lock order: after the wallet's row.

-- name: list_by_ids :many
-- Those of these trades that were made, and as which operation.
SELECT
    id,
    operation,
    created_at
FROM trade_requests
WHERE id = ANY(:trade_ids)
ORDER BY id, created_at
LIMIT 10000; -- the caller's maximum

-- name: prune :one
-- Deletes requests that were executed before a time, oldest first, but for resets; returns how many. A repeated order of
-- a pruned request is refused by its transaction's id. Waits for no lock: it skips locked rows.
-- check: not null pruned: the function returns a number
SELECT prune_trade_requests_v1(p_before => :before, p_limit => :limit) AS pruned;
