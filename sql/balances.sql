-- Balances: one row for each wallet and token it ever held. Model: AgentBalance.
-- They change by trades only (sql/trades.sql), under the wallet's lock: each is the sum of its transactions' effects.

-- name: find_by_wallet_and_token :optional
-- The wallet's holding of this token, if it ever had any.
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
WHERE wallet_address = :wallet_address AND token_address = :token_address;

-- name: list_by_wallet :many
-- What the wallet holds, by token address; what it held once has the balance 0.
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
WHERE agent_id = :agent_id
    AND wallet_address = :wallet_address
ORDER BY token_address
LIMIT :limit;
