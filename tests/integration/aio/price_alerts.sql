-- Price alerts: one row per price that an agent waits for. Model: PriceAlert. A service's own table, in the tests.
-- Lock order: price_alerts' rows only.

-- name: create :one
-- Creates an alert of the agent.
INSERT INTO price_alerts (agent_id, price)
VALUES (:agent_id, :price)
RETURNING
    id,
    agent_id,
    price;

-- name: list_by_agent :many
-- The agent's alerts, the lowest price first; those from a price on when it is given.
SELECT
    id,
    agent_id,
    price
FROM price_alerts
WHERE agent_id = :agent_id
    AND price >= :from_price -- if given
ORDER BY price, id
LIMIT :limit;

-- name: stream_all :stream
-- All alerts, in the order of their creation.
SELECT
    id,
    agent_id,
    price
FROM price_alerts
ORDER BY id;

-- name: pause_agent :rows
-- Turns the simulated trading of the agent off.
UPDATE agents
SET automated_trading_simulation = false
WHERE id = :agent_id;

-- name: list_after :many
-- The agent's alerts by their ids; those after an alert when it is given.
SELECT
    id,
    agent_id,
    price
FROM price_alerts
WHERE agent_id = :agent_id
    AND id > :after_id -- if given
ORDER BY id
LIMIT :limit;

-- name: create_by_order :one
-- Creates the alert of an order, or nothing when there is one of this price.
INSERT INTO price_alerts (agent_id, price)
VALUES (:agent_id, coalesce(:price, 1))
RETURNING
    id,
    agent_id,
    price;
