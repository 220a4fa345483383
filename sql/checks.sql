-- Checks: rules that always hold. Each query returns the rows that break its rule; without errors it returns none.
-- Run them at any time: psql -f sql/checks.sql. The tests run them after each scenario. Rows that an adopted database
-- had before its adoption were not written by these trades and may break a rule.

-- name: balances_equal_their_ledger :many
-- Each balance is the sum of the changes by the wallet's transactions in that token.
-- check: order: transactions are grouped by wallet and token, and both are unique in agent_balances
-- check: seq scan agent_balances: the check reads every balance
-- check: seq scan agent_transactions: the check sums every transaction
SELECT
    coalesce(b.wallet_address, l.wallet_address) AS wallet_address,
    coalesce(b.token_address, l.token_address) AS token_address,
    coalesce(b.balance, 0) AS balance,
    coalesce(l.total, 0) AS ledger_total
FROM agent_balances AS b
FULL JOIN (
    SELECT
        t.wallet_address,
        e.token_address,
        sum(e.change) AS total
    FROM agent_transactions AS t
    CROSS JOIN LATERAL transaction_effects(
        t.transaction_type, t.input_mint, t.input_amount, t.output_mint, t.output_amount,
        t.protocol_fee_sol, t.network_fee_sol, t.settled_dust
    ) AS e
    WHERE t.wallet_address IS NOT NULL
    GROUP BY t.wallet_address, e.token_address
) AS l ON l.wallet_address = b.wallet_address AND l.token_address = b.token_address
WHERE coalesce(b.balance, 0) <> coalesce(l.total, 0)
ORDER BY wallet_address, token_address
LIMIT 100;

-- name: positions_have_something_left :many
-- Each position has a remaining amount above zero; the trade that sells the rest deletes the position.
-- check: seq scan agent_positions: the check reads every position
SELECT
    id,
    wallet_address,
    token_address
FROM agent_positions
WHERE remaining_amount = 0
ORDER BY id
LIMIT 100;

-- name: positions_equal_their_transactions :many
-- A position's amounts equal the sums over its purchase, its DCA buys and its take-profits.
SELECT
    p.id,
    p.purchase_amount,
    t.bought,
    p.total_invested_sol,
    t.invested_sol,
    p.remaining_amount,
    t.sold,
    p.proceeds_sol,
    t.received_sol,
    p.realized_profit_sol,
    t.realized_sol
FROM agent_positions AS p
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(output_amount) FILTER (WHERE input_mint = sol_mint()), 0) AS bought,
        coalesce(sum(input_amount + fee.sol) FILTER (WHERE input_mint = sol_mint()), 0) AS invested_sol,
        coalesce(sum(input_amount) FILTER (WHERE output_mint = sol_mint()), 0) AS sold,
        coalesce(sum(output_amount - fee.sol) FILTER (WHERE output_mint = sol_mint()), 0) AS received_sol,
        coalesce(sum(realized_profit_sol), 0) AS realized_sol
    FROM agent_transactions
    CROSS JOIN LATERAL (SELECT coalesce(protocol_fee_sol, 0) + coalesce(network_fee_sol, 0) AS sol) AS fee
    WHERE id = p.purchase_transaction_id
        OR id = ANY(p.dca_transaction_ids::uuid[])
        OR id = ANY(p.take_profit_transaction_ids::uuid[])
) AS t
WHERE p.purchase_amount <> t.bought
    OR p.total_invested_sol <> t.invested_sol
    OR p.remaining_amount <> t.bought - t.sold
    OR p.proceeds_sol <> t.received_sol
    OR p.realized_profit_sol <> t.realized_sol
ORDER BY p.id
LIMIT 100;

-- name: swaps_have_no_open_position :many
-- A purchase has an open position or a historical swap, never both.
SELECT
    s.id,
    p.id AS position_id
FROM agent_historical_swaps AS s
JOIN agent_positions AS p ON p.purchase_transaction_id = s.purchase_transaction_id
ORDER BY s.id
LIMIT 100;

-- name: requests_name_the_wallet_of_their_transaction :many
-- The stored order of a trade names the wallet of its transaction, whose address may have been changed since.
-- check: seq scan trade_requests: the check reads every request
SELECT
    r.id,
    r.wallet_address,
    t.wallet_address AS wallet_of_transaction
FROM trade_requests AS r
JOIN agent_transactions AS t ON t.id = r.id
WHERE t.wallet_address IS DISTINCT FROM r.wallet_address
ORDER BY r.wallet_address, r.id
LIMIT 100;
