-- Price alerts: one row per price that an agent waits for. Model: PriceAlert.
-- Lock order: rows of price_alerts before wallets and what trades lock.

-- name: create :one
-- Creates an alert of the agent's wallet.
INSERT INTO price_alerts (agent_id, wallet_address, token_address, token_symbol, price, sol_amount)
VALUES (:agent_id, :wallet_address, :token_address, :token_symbol, :price, :sol_amount)
RETURNING
    id,
    agent_id,
    wallet_address,
    token_address,
    token_symbol,
    price,
    sol_amount,
    created_at;

-- name: list_by_agent :many
-- The agent's alerts, newest first; the page after the cursor when one is given.
SELECT
    id,
    agent_id,
    wallet_address,
    token_address,
    token_symbol,
    price,
    sol_amount,
    created_at
FROM price_alerts
WHERE agent_id = :agent_id
    AND (created_at, id) < (:before_time, :before_id) -- if given
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: take :optional
-- Deletes the alert and returns it. No row comes back when there is none, or when another caller has taken it.
DELETE FROM price_alerts
WHERE id = :alert_id
RETURNING
    id,
    agent_id,
    wallet_address,
    token_address,
    token_symbol,
    price,
    sol_amount,
    created_at;
