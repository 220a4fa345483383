-- Why: the rows of an adopted database that break a rule now; the queries are those of sql/checks.sql. A database that was
-- never another program's has none.
-- Locks: none on tables. It reads every transaction, balance, position and swap; reads and writes go on.
-- Rollback loses: the record.

INSERT INTO adopted_deviations (rule, agent_id, wallet_address, token_address, figure, deviation)
SELECT
    'balances_equal_their_ledger',
    w.agent_id,
    w.wallet_address,
    differing.token_address,
    'balance',
    differing.balance - differing.total
FROM (
    SELECT
        coalesce(b.wallet_address, l.wallet_address) AS wallet_address,
        coalesce(b.token_address, l.token_address) AS token_address,
        coalesce(b.balance, 0) AS balance,
        coalesce(l.total, 0) AS total
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
        WHERE t.wallet_address IS NOT NULL AND e.token_address IS NOT NULL
        GROUP BY t.wallet_address, e.token_address
    ) AS l ON l.wallet_address = b.wallet_address AND l.token_address = b.token_address
) AS differing
JOIN agent_wallets AS w ON w.wallet_address = differing.wallet_address
WHERE differing.balance <> differing.total;

INSERT INTO adopted_deviations (rule, agent_id, wallet_address, token_address, row_id, figure, deviation)
SELECT
    'positions_equal_their_transactions',
    p.agent_id,
    p.wallet_address,
    p.token_address,
    p.id,
    f.figure,
    f.deviation
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
    WHERE id = ANY(p.purchase_transaction_id || p.dca_transaction_ids || p.take_profit_transaction_ids)
) AS t
CROSS JOIN LATERAL (
    VALUES
    ('purchase_amount', p.purchase_amount - t.bought),
    ('total_invested_sol', p.total_invested_sol - t.invested_sol),
    ('remaining_amount', p.remaining_amount - (t.bought - t.sold)),
    ('proceeds_sol', p.proceeds_sol - t.received_sol),
    ('realized_profit_sol', p.realized_profit_sol - t.realized_sol)
) AS f (figure, deviation)
WHERE f.deviation <> 0;

INSERT INTO adopted_deviations (rule, agent_id, wallet_address, token_address, row_id)
SELECT
    'positions_have_something_left',
    agent_id,
    wallet_address,
    token_address,
    id
FROM agent_positions
WHERE remaining_amount = 0
UNION ALL
SELECT
    'swaps_have_no_open_position',
    p.agent_id,
    p.wallet_address,
    p.token_address,
    s.id
FROM agent_historical_swaps AS s
JOIN agent_positions AS p ON p.purchase_transaction_id = s.purchase_transaction_id;
