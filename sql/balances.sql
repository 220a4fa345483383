-- Balances: one row per wallet and token that the wallet holds or once held. Model: AgentBalance.
-- Only trades change balances (sql/trades.sql). A balance is the sum of the changes by the wallet's transactions.
-- Lock order: after the wallet's row and the position's.

-- name: find_by_wallet_and_token :optional
-- The wallet's balance of this token. No row comes back when the wallet never held it.
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
-- The wallet's balances by token address, including those that are 0 now; those after :after_token when it is given.
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
    AND token_address > :after_token -- if given
ORDER BY token_address
LIMIT :limit;

-- name: list_by_wallets :many
-- These wallets' balances of one token, by wallet. A wallet that never held the token has none.
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
WHERE token_address = :token_address
    AND wallet_address = ANY(:wallet_addresses)
ORDER BY wallet_address
LIMIT 10000; -- the caller's maximum

-- name: list_ledger_differences :many
-- The balances of the wallet that are not the sum of the changes by its transactions, plus what they deviated by when the
-- database was adopted; without errors there are none. Reads the ledger of one wallet, so it ends in time on a database of
-- any size; checks.sql has the same for all wallets.
-- check: order: the balances and the sums have each token once
SELECT
    coalesce(b.token_address, l.token_address) AS token_address,
    coalesce(b.balance, 0) AS balance,
    coalesce(l.total, 0) AS ledger_total
FROM (
    SELECT
        token_address,
        balance
    FROM agent_balances
    WHERE wallet_address = :wallet_address
) AS b
FULL JOIN (
    SELECT
        e.token_address,
        sum(e.change) AS total
    FROM agent_transactions AS t
    CROSS JOIN LATERAL transaction_effects(
        t.transaction_type, t.input_mint, t.input_amount, t.output_mint, t.output_amount,
        t.protocol_fee_sol, t.network_fee_sol, t.settled_dust
    ) AS e
    WHERE t.wallet_address = :wallet_address AND e.token_address IS NOT NULL
    GROUP BY e.token_address
) AS l ON l.token_address = b.token_address
LEFT JOIN adopted_deviations AS d
    ON d.wallet_address = :wallet_address
    AND d.token_address = coalesce(b.token_address, l.token_address)
    AND d.figure = 'balance'
WHERE coalesce(b.balance, 0) <> coalesce(l.total, 0) + coalesce(d.deviation, 0)
ORDER BY token_address
LIMIT :limit;
