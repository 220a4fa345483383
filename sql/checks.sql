-- Checks: rules that always hold. Each query returns the rows that break its rule; without errors it returns none.
-- Run them at any time: nexgent-db verify, or psql -f sql/checks.sql. The tests run them after each scenario. What the rows of an
-- adopted database deviated by is recorded in adopted_deviations and does not count: a row that is returned has changed since.
-- The settings nexgent.first_agent and nexgent.last_agent limit each check to the agents from the one id to the other: `verify`
-- sets them, to check a large database range by range. Without them, every row is checked.

-- name: balances_equal_their_ledger :many
-- Each balance is the sum of the changes by the wallet's transactions in that token, plus its recorded deviation.
-- check: order: transactions are grouped by wallet and token, and both are unique in agent_balances
-- check: seq scan agent_balances: the check reads every balance
-- check: seq scan agent_wallets: the check reads every wallet
-- check: seq scan agent_transactions: the check sums every transaction
SELECT
    coalesce(b.wallet_address, l.wallet_address) AS wallet_address,
    coalesce(b.token_address, l.token_address) AS token_address,
    coalesce(b.balance, 0) AS balance,
    coalesce(l.total, 0) AS ledger_total
FROM (
    SELECT
        h.wallet_address,
        h.token_address,
        h.balance
    FROM agent_wallets AS w
    INNER JOIN agent_balances AS h ON h.wallet_address = w.wallet_address
    WHERE w.agent_id BETWEEN
        coalesce(nullif(current_setting('nexgent.first_agent', true), ''), '00000000-0000-0000-0000-000000000000')::uuid
        AND coalesce(nullif(current_setting('nexgent.last_agent', true), ''), 'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid
) AS b
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
        AND e.token_address IS NOT NULL
        AND t.agent_id BETWEEN
            coalesce(nullif(current_setting('nexgent.first_agent', true), ''), '00000000-0000-0000-0000-000000000000')::uuid
            AND coalesce(nullif(current_setting('nexgent.last_agent', true), ''), 'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid
    GROUP BY t.wallet_address, e.token_address
) AS l ON l.wallet_address = b.wallet_address AND l.token_address = b.token_address
LEFT JOIN adopted_deviations AS d
    ON d.wallet_address = coalesce(b.wallet_address, l.wallet_address)
    AND d.token_address = coalesce(b.token_address, l.token_address)
    AND d.figure = 'balance'
WHERE coalesce(b.balance, 0) <> coalesce(l.total, 0) + coalesce(d.deviation, 0)
ORDER BY wallet_address, token_address
LIMIT 100;

-- name: positions_have_something_left :many
-- Each position has a remaining amount above zero; the trade that sells the rest deletes the position. Positions that were
-- adopted with nothing left are recorded, and do not count.
-- check: seq scan agent_positions: the check reads every position
SELECT
    id,
    wallet_address,
    token_address
FROM agent_positions AS p
WHERE remaining_amount = 0
    AND p.agent_id BETWEEN
        coalesce(nullif(current_setting('nexgent.first_agent', true), ''), '00000000-0000-0000-0000-000000000000')::uuid
        AND coalesce(nullif(current_setting('nexgent.last_agent', true), ''), 'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid
    AND NOT EXISTS (
        SELECT FROM adopted_deviations AS d WHERE d.row_id = p.id AND d.rule = 'positions_have_something_left'
    )
ORDER BY id
LIMIT 100;

-- name: positions_equal_their_transactions :many
-- A position's amounts equal the sums over its purchase, its DCA buys and its take-profits, plus its recorded deviations.
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
LEFT JOIN (
    SELECT
        row_id,
        sum(deviation) FILTER (WHERE figure = 'purchase_amount') AS purchase_amount,
        sum(deviation) FILTER (WHERE figure = 'total_invested_sol') AS total_invested_sol,
        sum(deviation) FILTER (WHERE figure = 'remaining_amount') AS remaining_amount,
        sum(deviation) FILTER (WHERE figure = 'proceeds_sol') AS proceeds_sol,
        sum(deviation) FILTER (WHERE figure = 'realized_profit_sol') AS realized_profit_sol
    FROM adopted_deviations
    GROUP BY row_id
) AS d ON d.row_id = p.id
WHERE p.agent_id BETWEEN
        coalesce(nullif(current_setting('nexgent.first_agent', true), ''), '00000000-0000-0000-0000-000000000000')::uuid
        AND coalesce(nullif(current_setting('nexgent.last_agent', true), ''), 'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid
    AND (
        p.purchase_amount <> t.bought + coalesce(d.purchase_amount, 0)
        OR p.total_invested_sol <> t.invested_sol + coalesce(d.total_invested_sol, 0)
        OR p.remaining_amount <> t.bought - t.sold + coalesce(d.remaining_amount, 0)
        OR p.proceeds_sol <> t.received_sol + coalesce(d.proceeds_sol, 0)
        OR p.realized_profit_sol <> t.realized_sol + coalesce(d.realized_profit_sol, 0)
    )
ORDER BY p.id
LIMIT 100;

-- name: swaps_have_no_open_position :many
-- A purchase has an open position or a historical swap, never both.
SELECT
    s.id,
    p.id AS position_id
FROM agent_historical_swaps AS s
JOIN agent_positions AS p ON p.purchase_transaction_id = s.purchase_transaction_id
WHERE s.agent_id BETWEEN
        coalesce(nullif(current_setting('nexgent.first_agent', true), ''), '00000000-0000-0000-0000-000000000000')::uuid
        AND coalesce(nullif(current_setting('nexgent.last_agent', true), ''), 'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid
    AND NOT EXISTS (
        SELECT FROM adopted_deviations AS d WHERE d.row_id = s.id AND d.rule = 'swaps_have_no_open_position'
    )
ORDER BY s.id, s.sale_time
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
    AND t.agent_id BETWEEN
        coalesce(nullif(current_setting('nexgent.first_agent', true), ''), '00000000-0000-0000-0000-000000000000')::uuid
        AND coalesce(nullif(current_setting('nexgent.last_agent', true), ''), 'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid
ORDER BY r.wallet_address, r.id, r.created_at, t.transaction_time
LIMIT 100;
