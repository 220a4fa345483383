-- Trade requests: one row for each trade made, under the id its order gave. Model: TradeRequest.
-- The trades write them (sql/trades.sql), to recognise an order that comes again.

-- name: list_by_ids :many
-- Which of these requests were made, and as what.
SELECT
    id,
    operation,
    created_at
FROM trade_requests
WHERE id = ANY(:request_ids)
ORDER BY id
LIMIT 10000; -- as many as ids may be asked for
