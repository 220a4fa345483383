-- Trades: what moves value. Orders, results and refusals: models/trades.py.
--
-- Each trade is one statement, so one round trip and one atomic unit. All of them go the same way:
--
--   agent    locked FOR KEY SHARE: a deletion of the agent goes first or waits.
--   wallet   locked FOR NO KEY UPDATE: the trades of one wallet go one after another. Also the ownership check.
--   prior    the request of this id, if it was made before.
--   effect   what the trade does to the wallet, by token, beside what the wallet holds.
--   refusal  the first reason not to trade, in order of precedence. `stale` is one of them: whoever waited for the
--            wallet reads a snapshot from before the wait; when a trade was made meanwhile (trade_count tells) this
--            one does nothing and is sent again together with lock_wallet, in one transaction.
--   go       the wallet, when nothing speaks against the trade. Every write below reads from it.
--   due      the effect of a trade that is made: whose balance of which token changes, and by how much.
--   moved    the balances after the writes, which are relative; the table's CHECK keeps them at zero or above.
--   ledger   the transaction.
--   made     the request and its result. Should a write have found no row although its guard had passed (somebody
--            edits balances by hand), the result is NULL, which the table refuses: the whole statement is undone.
--
-- A wallet may hold thousands of tokens, and a token may be in every wallet. So balances and positions are looked up by
-- wallet and token at once: by parameters, or by one CTE that has both. (Joined to two, all of the wallet or all of the
-- token may be read first.)
--
-- Lock order: agent, wallet, position, balances. Every writer of these tables keeps to it.
-- Amounts are whole tokens (SOL, not lamports); what ends in _sol is SOL.

-- name: lock_wallet :exec
-- Takes the locks that every trade of the wallet begins with, so that the next statement's snapshot is a fresh one.
WITH agent AS (
    SELECT id
    FROM agents
    WHERE id = :agent_id
    FOR KEY SHARE
)

SELECT w.wallet_address
FROM agent
JOIN agent_wallets AS w ON w.agent_id = agent.id
WHERE w.wallet_address = :wallet_address
FOR NO KEY UPDATE OF w;

-- name: post :one
-- A deposit, withdrawal, burn or plain swap: balances and the ledger change, no position does.
WITH agent AS (
    SELECT id
    FROM agents
    WHERE id = :agent_id
    FOR KEY SHARE
),

wallet AS (
    SELECT
        w.agent_id,
        w.wallet_address,
        w.wallet_type,
        w.trade_count
    FROM agent
    JOIN agent_wallets AS w ON w.agent_id = agent.id
    WHERE w.wallet_address = :wallet_address
    FOR NO KEY UPDATE OF w
),

prior AS (
    SELECT
        content_digest,
        result
    FROM trade_requests
    WHERE id = :request_id
),

effect AS (
    SELECT
        e.token_address,
        e.change,
        coalesce((
            SELECT b.balance
            FROM agent_balances AS b
            WHERE b.wallet_address = :wallet_address AND b.token_address = e.token_address
        ), 0) AS balance
    FROM transaction_effects(
        :transaction_type, :input_mint, :input_amount, :output_mint, :output_amount, :protocol_fee_sol, :network_fee_sol
    ) AS e
    WHERE e.change <> 0
),

refusal AS (
    SELECT
        'wallet_not_found' AS outcome,
        '{}'::jsonb AS figures,
        1 AS precedence
    WHERE NOT EXISTS (SELECT FROM wallet)
    UNION ALL
    SELECT
        'stale',
        '{}',
        2
    FROM wallet
    JOIN agent_wallets AS seen ON seen.wallet_address = wallet.wallet_address
    WHERE seen.trade_count <> wallet.trade_count
    UNION ALL
    SELECT
        CASE WHEN content_digest = :content_digest THEN 'replayed' ELSE 'idempotency_conflict' END,
        jsonb_build_object('taken_by', 'another order of this id'),
        3
    FROM prior
    UNION ALL
    SELECT
        'idempotency_conflict',
        jsonb_build_object('taken_by', 'transaction ' || id),
        4
    FROM agent_transactions
    WHERE id = :request_id
    UNION ALL
    SELECT
        'idempotency_conflict',
        jsonb_build_object('taken_by', 'transaction ' || id || ' of the same hash'),
        5
    FROM agent_transactions
    WHERE wallet_address = :wallet_address
        AND transaction_hash = :transaction_hash
        AND transaction_leg = :transaction_leg
    UNION ALL
    SELECT
        'insufficient_balance',
        jsonb_build_object('token_address', token_address, 'balance', balance, 'required', -change),
        6
    FROM effect
    WHERE balance + change < 0
    ORDER BY precedence
    LIMIT 1
),

go AS (
    SELECT
        agent_id,
        wallet_address
    FROM wallet
    WHERE NOT EXISTS (SELECT FROM refusal)
),

due AS (
    SELECT
        go.agent_id,
        go.wallet_address,
        effect.token_address,
        effect.change
    FROM go, effect
),

debited AS (
    UPDATE agent_balances AS b
    SET
        balance = b.balance + due.change,
        last_updated = now()
    FROM due
    WHERE b.wallet_address = due.wallet_address
        AND b.token_address = due.token_address
        AND due.change < 0
    RETURNING to_jsonb(b) AS balance
),

credited AS (
    INSERT INTO agent_balances AS b (agent_id, wallet_address, token_address, token_symbol, balance)
    SELECT
        agent_id,
        wallet_address,
        token_address,
        CASE token_address
            WHEN :output_mint THEN :output_symbol
            WHEN :input_mint THEN :input_symbol
            ELSE 'SOL'
        END,
        change
    FROM due
    WHERE change > 0
    ON CONFLICT (wallet_address, token_address) DO UPDATE
        SET
            balance = b.balance + excluded.balance,
            last_updated = now()
    RETURNING to_jsonb(b) AS balance
),

moved AS (
    SELECT balance FROM debited
    UNION ALL
    SELECT balance FROM credited
),

ledger AS (
    INSERT INTO agent_transactions (
        id,
        agent_id,
        wallet_address,
        transaction_type,
        transaction_value_usd,
        transaction_time,
        destination_address,
        signal_id,
        routes,
        input_mint,
        input_symbol,
        input_amount,
        input_price,
        output_mint,
        output_symbol,
        output_amount,
        output_price,
        slippage,
        price_impact,
        transaction_hash,
        transaction_leg,
        swap_payload,
        protocol_fee_sol,
        network_fee_sol
    )
    SELECT
        :request_id,
        agent_id,
        wallet_address,
        :transaction_type,
        :transaction_value_usd,
        coalesce(:transaction_time, now()),
        :destination_address,
        :signal_id,
        :routes,
        :input_mint,
        :input_symbol,
        :input_amount,
        :input_price,
        :output_mint,
        :output_symbol,
        :output_amount,
        :output_price,
        :slippage,
        :price_impact,
        :transaction_hash,
        :transaction_leg,
        :swap_payload,
        :protocol_fee_sol,
        :network_fee_sol
    FROM go
    RETURNING to_jsonb(agent_transactions) - '{routes, swap_payload}'::text[] AS transaction
),

counted AS (
    UPDATE agent_wallets AS w
    SET trade_count = w.trade_count + 1
    FROM go
    WHERE w.wallet_address = go.wallet_address
),

made AS (
    INSERT INTO trade_requests (id, agent_id, wallet_address, operation, content_digest, result)
    SELECT
        :request_id,
        agent_id,
        wallet_address,
        lower(:transaction_type::text),
        :content_digest,
        CASE
            WHEN (SELECT count(*) FROM moved) = (SELECT count(*) FROM effect)
                THEN jsonb_build_object(
                'balances', (SELECT jsonb_agg(balance ORDER BY balance ->> 'token_address') FROM moved)
            )
        END
    FROM go
    RETURNING result
)

SELECT
    coalesce((SELECT outcome FROM refusal), 'made') AS outcome,
    (SELECT figures FROM refusal)::text AS figures,
    coalesce(
        (SELECT transaction FROM ledger),
        (SELECT to_jsonb(t) - '{routes, swap_payload}'::text[] FROM agent_transactions AS t WHERE t.id = :request_id)
    )::text AS transaction,
    coalesce((SELECT result FROM made), (SELECT result FROM prior))::text AS result;

-- name: buy :one
-- Spends SOL, receives tokens and opens the position. The purchase price is SOL spent over tokens received, fees
-- aside; the SOL invested includes them.
WITH agent AS (
    SELECT id
    FROM agents
    WHERE id = :agent_id
    FOR KEY SHARE
),

wallet AS (
    SELECT
        w.agent_id,
        w.wallet_address,
        w.wallet_type,
        w.trade_count
    FROM agent
    JOIN agent_wallets AS w ON w.agent_id = agent.id
    WHERE w.wallet_address = :wallet_address
    FOR NO KEY UPDATE OF w
),

prior AS (
    SELECT
        content_digest,
        result
    FROM trade_requests
    WHERE id = :request_id
),

effect AS (
    SELECT
        e.token_address,
        e.change,
        coalesce((
            SELECT b.balance
            FROM agent_balances AS b
            WHERE b.wallet_address = :wallet_address AND b.token_address = e.token_address
        ), 0) AS balance
    FROM transaction_effects(
        'SWAP', sol_mint(), :sol_amount, :token_address, :token_amount, :protocol_fee_sol, :network_fee_sol
    ) AS e
    WHERE e.change <> 0
),

refusal AS (
    SELECT
        'wallet_not_found' AS outcome,
        '{}'::jsonb AS figures,
        1 AS precedence
    WHERE NOT EXISTS (SELECT FROM wallet)
    UNION ALL
    SELECT
        'stale',
        '{}',
        2
    FROM wallet
    JOIN agent_wallets AS seen ON seen.wallet_address = wallet.wallet_address
    WHERE seen.trade_count <> wallet.trade_count
    UNION ALL
    SELECT
        CASE WHEN content_digest = :content_digest THEN 'replayed' ELSE 'idempotency_conflict' END,
        jsonb_build_object('taken_by', 'another order of this id'),
        3
    FROM prior
    UNION ALL
    SELECT
        'idempotency_conflict',
        jsonb_build_object('taken_by', 'transaction ' || id),
        4
    FROM agent_transactions
    WHERE id = :request_id
    UNION ALL
    SELECT
        'idempotency_conflict',
        jsonb_build_object('taken_by', 'transaction ' || id || ' of the same hash'),
        5
    FROM agent_transactions
    WHERE wallet_address = :wallet_address
        AND transaction_hash = :transaction_hash
        AND transaction_leg = :transaction_leg
    UNION ALL
    SELECT
        'position_exists',
        jsonb_build_object('remaining', coalesce(p.remaining_amount, p.purchase_amount)),
        6
    FROM wallet
    JOIN agent_positions AS p
        ON p.agent_id = :agent_id AND p.wallet_address = :wallet_address AND p.token_address = :token_address
    UNION ALL
    SELECT
        'insufficient_balance',
        jsonb_build_object('token_address', token_address, 'balance', balance, 'required', -change),
        7
    FROM effect
    WHERE balance + change < 0
    ORDER BY precedence
    LIMIT 1
),

go AS (
    SELECT
        agent_id,
        wallet_address
    FROM wallet
    WHERE NOT EXISTS (SELECT FROM refusal)
),

due AS (
    SELECT
        go.agent_id,
        go.wallet_address,
        effect.token_address,
        effect.change
    FROM go, effect
),

debited AS (
    UPDATE agent_balances AS b
    SET
        balance = b.balance + due.change,
        last_updated = now()
    FROM due
    WHERE b.wallet_address = due.wallet_address
        AND b.token_address = due.token_address
        AND due.change < 0
    RETURNING to_jsonb(b) AS balance
),

credited AS (
    INSERT INTO agent_balances AS b (agent_id, wallet_address, token_address, token_symbol, balance)
    SELECT
        agent_id,
        wallet_address,
        token_address,
        CASE token_address WHEN :token_address THEN :token_symbol ELSE 'SOL' END,
        change
    FROM due
    WHERE change > 0
    ON CONFLICT (wallet_address, token_address) DO UPDATE
        SET
            balance = b.balance + excluded.balance,
            last_updated = now()
    RETURNING to_jsonb(b) AS balance
),

moved AS (
    SELECT balance FROM debited
    UNION ALL
    SELECT balance FROM credited
),

ledger AS (
    INSERT INTO agent_transactions (
        id,
        agent_id,
        wallet_address,
        transaction_type,
        transaction_value_usd,
        transaction_time,
        signal_id,
        routes,
        input_mint,
        input_symbol,
        input_amount,
        input_price,
        output_mint,
        output_symbol,
        output_amount,
        output_price,
        slippage,
        price_impact,
        transaction_hash,
        transaction_leg,
        swap_payload,
        protocol_fee_sol,
        network_fee_sol
    )
    SELECT
        :request_id,
        agent_id,
        wallet_address,
        'SWAP',
        :transaction_value_usd,
        coalesce(:transaction_time, now()),
        :signal_id,
        :routes,
        sol_mint(),
        'SOL',
        :sol_amount,
        1,
        :token_address,
        :token_symbol,
        :token_amount,
        ratio(:sol_amount, :token_amount, 18),
        :slippage,
        :price_impact,
        :transaction_hash,
        :transaction_leg,
        :swap_payload,
        :protocol_fee_sol,
        :network_fee_sol
    FROM go
    RETURNING to_jsonb(agent_transactions) - '{routes, swap_payload}'::text[] AS transaction
),

counted AS (
    UPDATE agent_wallets AS w
    SET trade_count = w.trade_count + 1
    FROM go
    WHERE w.wallet_address = go.wallet_address
),

opened AS (
    INSERT INTO agent_positions (
        agent_id,
        wallet_address,
        token_address,
        token_symbol,
        purchase_transaction_id,
        purchase_price,
        purchase_amount,
        current_stop_loss_percentage,
        peak_price,
        lowest_price,
        total_invested_sol,
        total_take_profit_levels
    )
    SELECT
        agent_id,
        wallet_address,
        :token_address,
        :token_symbol,
        :request_id,
        ratio(:sol_amount, :token_amount, 18),
        :token_amount,
        :stop_loss_percentage,
        ratio(:sol_amount, :token_amount, 18),
        ratio(:sol_amount, :token_amount, 18),
        :sol_amount + coalesce(:protocol_fee_sol, 0) + coalesce(:network_fee_sol, 0),
        :take_profit_levels
    FROM go
    RETURNING to_jsonb(agent_positions) AS position
),

made AS (
    INSERT INTO trade_requests (id, agent_id, wallet_address, operation, content_digest, result)
    SELECT
        :request_id,
        agent_id,
        wallet_address,
        'buy',
        :content_digest,
        CASE
            WHEN (SELECT count(*) FROM moved) = (SELECT count(*) FROM effect)
                THEN jsonb_build_object(
                'balances', (SELECT jsonb_agg(balance ORDER BY balance ->> 'token_address') FROM moved),
                'position', (SELECT position FROM opened)
            )
        END
    FROM go
    RETURNING result
)

SELECT
    coalesce((SELECT outcome FROM refusal), 'made') AS outcome,
    (SELECT figures FROM refusal)::text AS figures,
    coalesce(
        (SELECT transaction FROM ledger),
        (SELECT to_jsonb(t) - '{routes, swap_payload}'::text[] FROM agent_transactions AS t WHERE t.id = :request_id)
    )::text AS transaction,
    coalesce((SELECT result FROM made), (SELECT result FROM prior))::text AS result;

-- name: dca_buy :one
-- Spends SOL, receives tokens and adds them to the open position. Its price becomes all that was invested, fees
-- included, over all that was bought.
WITH agent AS (
    SELECT id
    FROM agents
    WHERE id = :agent_id
    FOR KEY SHARE
),

wallet AS (
    SELECT
        w.agent_id,
        w.wallet_address,
        w.wallet_type,
        w.trade_count
    FROM agent
    JOIN agent_wallets AS w ON w.agent_id = agent.id
    WHERE w.wallet_address = :wallet_address
    FOR NO KEY UPDATE OF w
),

prior AS (
    SELECT
        content_digest,
        result
    FROM trade_requests
    WHERE id = :request_id
),

position AS (
    SELECT
        p.id,
        p.dca_count
    FROM wallet
    JOIN agent_positions AS p
        ON p.agent_id = :agent_id AND p.wallet_address = :wallet_address AND p.token_address = :token_address
    FOR NO KEY UPDATE OF p
),

effect AS (
    SELECT
        e.token_address,
        e.change,
        coalesce((
            SELECT b.balance
            FROM agent_balances AS b
            WHERE b.wallet_address = :wallet_address AND b.token_address = e.token_address
        ), 0) AS balance
    FROM transaction_effects(
        'SWAP', sol_mint(), :sol_amount, :token_address, :token_amount, :protocol_fee_sol, :network_fee_sol
    ) AS e
    WHERE e.change <> 0
),

refusal AS (
    SELECT
        'wallet_not_found' AS outcome,
        '{}'::jsonb AS figures,
        1 AS precedence
    WHERE NOT EXISTS (SELECT FROM wallet)
    UNION ALL
    SELECT
        'stale',
        '{}',
        2
    FROM wallet
    JOIN agent_wallets AS seen ON seen.wallet_address = wallet.wallet_address
    WHERE seen.trade_count <> wallet.trade_count
    UNION ALL
    SELECT
        CASE WHEN content_digest = :content_digest THEN 'replayed' ELSE 'idempotency_conflict' END,
        jsonb_build_object('taken_by', 'another order of this id'),
        3
    FROM prior
    UNION ALL
    SELECT
        'idempotency_conflict',
        jsonb_build_object('taken_by', 'transaction ' || id),
        4
    FROM agent_transactions
    WHERE id = :request_id
    UNION ALL
    SELECT
        'idempotency_conflict',
        jsonb_build_object('taken_by', 'transaction ' || id || ' of the same hash'),
        5
    FROM agent_transactions
    WHERE wallet_address = :wallet_address
        AND transaction_hash = :transaction_hash
        AND transaction_leg = :transaction_leg
    UNION ALL
    SELECT
        'position_not_found',
        '{}',
        6
    FROM wallet
    WHERE NOT EXISTS (SELECT FROM position)
    UNION ALL
    SELECT
        'stale_position',
        jsonb_build_object('counter', 'dca_count', 'expected', :expected_dca_count::integer, 'actual', dca_count),
        7
    FROM position
    WHERE dca_count <> :expected_dca_count
    UNION ALL
    SELECT
        'insufficient_balance',
        jsonb_build_object('token_address', token_address, 'balance', balance, 'required', -change),
        8
    FROM effect
    WHERE balance + change < 0
    ORDER BY precedence
    LIMIT 1
),

go AS (
    SELECT
        agent_id,
        wallet_address
    FROM wallet
    WHERE NOT EXISTS (SELECT FROM refusal)
),

due AS (
    SELECT
        go.agent_id,
        go.wallet_address,
        effect.token_address,
        effect.change
    FROM go, effect
),

debited AS (
    UPDATE agent_balances AS b
    SET
        balance = b.balance + due.change,
        last_updated = now()
    FROM due
    WHERE b.wallet_address = due.wallet_address
        AND b.token_address = due.token_address
        AND due.change < 0
    RETURNING to_jsonb(b) AS balance
),

credited AS (
    INSERT INTO agent_balances AS b (agent_id, wallet_address, token_address, token_symbol, balance)
    SELECT
        agent_id,
        wallet_address,
        token_address,
        CASE token_address WHEN :token_address THEN :token_symbol ELSE 'SOL' END,
        change
    FROM due
    WHERE change > 0
    ON CONFLICT (wallet_address, token_address) DO UPDATE
        SET
            balance = b.balance + excluded.balance,
            last_updated = now()
    RETURNING to_jsonb(b) AS balance
),

moved AS (
    SELECT balance FROM debited
    UNION ALL
    SELECT balance FROM credited
),

ledger AS (
    INSERT INTO agent_transactions (
        id,
        agent_id,
        wallet_address,
        transaction_type,
        transaction_value_usd,
        transaction_time,
        signal_id,
        routes,
        input_mint,
        input_symbol,
        input_amount,
        input_price,
        output_mint,
        output_symbol,
        output_amount,
        output_price,
        slippage,
        price_impact,
        is_dca,
        transaction_hash,
        transaction_leg,
        swap_payload,
        protocol_fee_sol,
        network_fee_sol
    )
    SELECT
        :request_id,
        agent_id,
        wallet_address,
        'SWAP',
        :transaction_value_usd,
        coalesce(:transaction_time, now()),
        :signal_id,
        :routes,
        sol_mint(),
        'SOL',
        :sol_amount,
        1,
        :token_address,
        :token_symbol,
        :token_amount,
        ratio(:sol_amount, :token_amount, 18),
        :slippage,
        :price_impact,
        true,
        :transaction_hash,
        :transaction_leg,
        :swap_payload,
        :protocol_fee_sol,
        :network_fee_sol
    FROM go
    RETURNING to_jsonb(agent_transactions) - '{routes, swap_payload}'::text[] AS transaction
),

counted AS (
    UPDATE agent_wallets AS w
    SET trade_count = w.trade_count + 1
    FROM go
    WHERE w.wallet_address = go.wallet_address
),

spent AS (
    SELECT :sol_amount + coalesce(:protocol_fee_sol, 0) + coalesce(:network_fee_sol, 0) AS sol
),

added AS (
    UPDATE agent_positions AS p
    SET
        purchase_price = ratio(p.total_invested_sol + spent.sol, p.purchase_amount + :token_amount, 18),
        purchase_amount = p.purchase_amount + :token_amount,
        total_invested_sol = p.total_invested_sol + spent.sol,
        remaining_amount = p.remaining_amount + :token_amount,
        peak_price = greatest(p.peak_price, ratio(:sol_amount, :token_amount, 18)),
        lowest_price = least(p.lowest_price, ratio(:sol_amount, :token_amount, 18)),
        dca_count = p.dca_count + 1,
        dca_transaction_ids = array_append(p.dca_transaction_ids, :request_id::text),
        last_dca_time = coalesce(:transaction_time, now()),
        tp_batch_start_level = p.take_profit_levels_hit,
        total_take_profit_levels = coalesce(
            p.take_profit_levels_hit + :take_profit_levels, p.total_take_profit_levels
        ),
        updated_at = now()
    FROM go, position, spent
    WHERE p.id = position.id
    RETURNING to_jsonb(p) AS position
),

made AS (
    INSERT INTO trade_requests (id, agent_id, wallet_address, operation, content_digest, result)
    SELECT
        :request_id,
        agent_id,
        wallet_address,
        'dca_buy',
        :content_digest,
        CASE
            WHEN (SELECT count(*) FROM moved) = (SELECT count(*) FROM effect)
                AND (SELECT count(*) FROM added) = 1
                THEN jsonb_build_object(
                'balances', (SELECT jsonb_agg(balance ORDER BY balance ->> 'token_address') FROM moved),
                'position', (SELECT position FROM added)
            )
        END
    FROM go
    RETURNING result
)

SELECT
    coalesce((SELECT outcome FROM refusal), 'made') AS outcome,
    (SELECT figures FROM refusal)::text AS figures,
    coalesce(
        (SELECT transaction FROM ledger),
        (SELECT to_jsonb(t) - '{routes, swap_payload}'::text[] FROM agent_transactions AS t WHERE t.id = :request_id)
    )::text AS transaction,
    coalesce((SELECT result FROM made), (SELECT result FROM prior))::text AS result;

-- name: sell :one
-- Sells tokens of the open position for SOL. A take-profit reduces the position; when nothing remains, and always
-- in a full sale, the position is deleted and its historical swap written. Profit of a take-profit: SOL received net
-- of fees less the cost basis (sold / bought x invested). Profit of a closed position: all SOL received for it, net
-- of fees, less all SOL invested; the last sale realises what the earlier ones have not.
WITH agent AS (
    SELECT id
    FROM agents
    WHERE id = :agent_id
    FOR KEY SHARE
),

wallet AS (
    SELECT
        w.agent_id,
        w.wallet_address,
        w.wallet_type,
        w.trade_count
    FROM agent
    JOIN agent_wallets AS w ON w.agent_id = agent.id
    WHERE w.wallet_address = :wallet_address
    FOR NO KEY UPDATE OF w
),

prior AS (
    SELECT
        content_digest,
        result
    FROM trade_requests
    WHERE id = :request_id
),

position AS (
    SELECT
        p.id,
        p.token_symbol,
        p.purchase_transaction_id,
        p.purchase_price,
        p.purchase_amount,
        coalesce(p.remaining_amount, p.purchase_amount) AS remaining,
        p.total_invested_sol,
        p.take_profit_levels_hit,
        p.moon_bag_amount,
        p.proceeds_sol,
        p.realized_profit_sol,
        purchase.transaction_time AS purchase_time,
        purchase.signal_id
    FROM wallet
    JOIN agent_positions AS p
        ON p.agent_id = :agent_id AND p.wallet_address = :wallet_address AND p.token_address = :token_address
    JOIN agent_transactions AS purchase ON purchase.id = p.purchase_transaction_id
    FOR NO KEY UPDATE OF p
),

sale AS (
    SELECT
        position.id,
        position.remaining - :token_amount AS left_over,
        position.remaining = :token_amount AS closes,
        received.sol AS proceeds_sol,
        position.proceeds_sol + received.sol - position.total_invested_sol AS profit_sol,
        CASE
            WHEN position.remaining = :token_amount
                THEN position.proceeds_sol + received.sol - position.total_invested_sol - position.realized_profit_sol
            ELSE
                received.sol - ratio(:token_amount * position.total_invested_sol, position.purchase_amount, 18)
        END AS realized_sol,
        coalesce(:moon_bag_amount, position.moon_bag_amount) AS moon_bag_amount,
        -- A sale that waited for its purchase to commit began before it: without a time of its own it follows it.
        coalesce(:transaction_time, greatest(now(), position.purchase_time)) AS sale_time
    FROM
        position,
        LATERAL (
            SELECT :sol_amount - coalesce(:protocol_fee_sol, 0) - coalesce(:network_fee_sol, 0) AS sol
        ) AS received
),

effect AS (
    SELECT
        e.token_address,
        e.change,
        coalesce((
            SELECT b.balance
            FROM agent_balances AS b
            WHERE b.wallet_address = :wallet_address AND b.token_address = e.token_address
        ), 0) AS balance
    FROM transaction_effects(
        'SWAP', :token_address, :token_amount, sol_mint(), :sol_amount, :protocol_fee_sol, :network_fee_sol
    ) AS e
    WHERE e.change <> 0
),

refusal AS (
    SELECT
        'wallet_not_found' AS outcome,
        '{}'::jsonb AS figures,
        1 AS precedence
    WHERE NOT EXISTS (SELECT FROM wallet)
    UNION ALL
    SELECT
        'stale',
        '{}',
        2
    FROM wallet
    JOIN agent_wallets AS seen ON seen.wallet_address = wallet.wallet_address
    WHERE seen.trade_count <> wallet.trade_count
    UNION ALL
    SELECT
        CASE WHEN content_digest = :content_digest THEN 'replayed' ELSE 'idempotency_conflict' END,
        jsonb_build_object('taken_by', 'another order of this id'),
        3
    FROM prior
    UNION ALL
    SELECT
        'idempotency_conflict',
        jsonb_build_object('taken_by', 'transaction ' || id),
        4
    FROM agent_transactions
    WHERE id = :request_id
    UNION ALL
    SELECT
        'idempotency_conflict',
        jsonb_build_object('taken_by', 'transaction ' || id || ' of the same hash'),
        5
    FROM agent_transactions
    WHERE wallet_address = :wallet_address
        AND transaction_hash = :transaction_hash
        AND transaction_leg = :transaction_leg
    UNION ALL
    SELECT
        'position_not_found',
        '{}',
        6
    FROM wallet
    WHERE NOT EXISTS (SELECT FROM position)
    UNION ALL
    SELECT
        'stale_position',
        jsonb_build_object(
            'counter', 'take_profit_levels_hit',
            'expected', :expected_levels_hit::integer,
            'actual', take_profit_levels_hit
        ),
        7
    FROM position
    WHERE take_profit_levels_hit <> :expected_levels_hit
    UNION ALL
    SELECT
        'oversell',
        jsonb_build_object('remaining', remaining, 'requested', :token_amount::numeric),
        8
    FROM position
    WHERE :token_amount > remaining
    UNION ALL
    SELECT
        'not_a_full_sale',
        jsonb_build_object('remaining', remaining, 'requested', :token_amount::numeric),
        9
    FROM position
    WHERE NOT :is_take_profit AND :token_amount < remaining
    UNION ALL
    SELECT
        'moon_bag_too_large',
        jsonb_build_object('remaining', left_over, 'requested', moon_bag_amount),
        10
    FROM sale
    WHERE :is_take_profit AND moon_bag_amount > left_over
    UNION ALL
    SELECT
        'sale_before_purchase',
        jsonb_build_object('purchase_time', purchase_time, 'sale_time', :transaction_time::timestamptz),
        11
    FROM position
    WHERE :transaction_time < purchase_time
    UNION ALL
    SELECT
        'insufficient_balance',
        jsonb_build_object('token_address', token_address, 'balance', balance, 'required', -change),
        12
    FROM effect
    WHERE balance + change < 0
    ORDER BY precedence
    LIMIT 1
),

go AS (
    SELECT
        agent_id,
        wallet_address
    FROM wallet
    WHERE NOT EXISTS (SELECT FROM refusal)
),

due AS (
    SELECT
        go.agent_id,
        go.wallet_address,
        effect.token_address,
        effect.change
    FROM go, effect
),

debited AS (
    UPDATE agent_balances AS b
    SET
        balance = b.balance + due.change,
        last_updated = now()
    FROM due
    WHERE b.wallet_address = due.wallet_address
        AND b.token_address = due.token_address
        AND due.change < 0
    RETURNING to_jsonb(b) AS balance
),

credited AS (
    INSERT INTO agent_balances AS b (agent_id, wallet_address, token_address, token_symbol, balance)
    SELECT
        agent_id,
        wallet_address,
        token_address,
        CASE token_address WHEN :token_address THEN :token_symbol ELSE 'SOL' END,
        change
    FROM due
    WHERE change > 0
    ON CONFLICT (wallet_address, token_address) DO UPDATE
        SET
            balance = b.balance + excluded.balance,
            last_updated = now()
    RETURNING to_jsonb(b) AS balance
),

moved AS (
    SELECT balance FROM debited
    UNION ALL
    SELECT balance FROM credited
),

ledger AS (
    INSERT INTO agent_transactions (
        id,
        agent_id,
        wallet_address,
        transaction_type,
        transaction_value_usd,
        transaction_time,
        signal_id,
        routes,
        input_mint,
        input_symbol,
        input_amount,
        input_price,
        output_mint,
        output_symbol,
        output_amount,
        output_price,
        slippage,
        price_impact,
        transaction_hash,
        transaction_leg,
        swap_payload,
        is_take_profit,
        protocol_fee_sol,
        network_fee_sol,
        realized_profit_sol
    )
    SELECT
        :request_id,
        go.agent_id,
        go.wallet_address,
        'SWAP',
        :transaction_value_usd,
        sale.sale_time,
        :signal_id,
        :routes,
        :token_address,
        :token_symbol,
        :token_amount,
        ratio(:sol_amount, :token_amount, 18),
        sol_mint(),
        'SOL',
        :sol_amount,
        1,
        :slippage,
        :price_impact,
        :transaction_hash,
        :transaction_leg,
        :swap_payload,
        :is_take_profit,
        :protocol_fee_sol,
        :network_fee_sol,
        sale.realized_sol
    FROM go, sale
    RETURNING to_jsonb(agent_transactions) - '{routes, swap_payload}'::text[] AS transaction
),

counted AS (
    UPDATE agent_wallets AS w
    SET trade_count = w.trade_count + 1
    FROM go
    WHERE w.wallet_address = go.wallet_address
),

reduced AS (
    UPDATE agent_positions AS p
    SET
        remaining_amount = sale.left_over,
        proceeds_sol = p.proceeds_sol + sale.proceeds_sol,
        realized_profit_sol = p.realized_profit_sol + sale.realized_sol,
        take_profit_levels_hit = p.take_profit_levels_hit + :levels_hit,
        take_profit_transaction_ids = array_append(p.take_profit_transaction_ids, :request_id::text),
        last_take_profit_time = sale.sale_time,
        moon_bag_activated = p.moon_bag_activated OR :moon_bag_amount IS NOT NULL,
        moon_bag_amount = sale.moon_bag_amount,
        updated_at = now()
    FROM go, sale
    WHERE p.id = sale.id AND NOT sale.closes
    RETURNING to_jsonb(p) AS position
),

closed AS (
    DELETE FROM agent_positions AS p
    USING go, sale
    WHERE p.id = sale.id AND sale.closes
    RETURNING p.id
),

swap AS (
    INSERT INTO agent_historical_swaps (
        agent_id,
        wallet_address,
        token_address,
        token_symbol,
        amount,
        purchase_price,
        sale_price,
        change_percent,
        profit_loss_usd,
        profit_loss_sol,
        purchase_time,
        sale_time,
        purchase_transaction_id,
        sale_transaction_id,
        signal_id,
        close_reason
    )
    SELECT
        go.agent_id,
        go.wallet_address,
        :token_address,
        position.token_symbol,
        position.purchase_amount,
        position.purchase_price,
        ratio(:sol_amount, :token_amount, 18),
        coalesce(
            ratio(100 * sale.profit_sol, nullif(position.purchase_price * position.purchase_amount, 0), 4), 0
        ),
        ratio(sale.profit_sol * :transaction_value_usd, :sol_amount, 8),
        sale.profit_sol,
        position.purchase_time,
        sale.sale_time,
        position.purchase_transaction_id,
        :request_id,
        position.signal_id,
        :close_reason
    FROM go, position, sale
    WHERE sale.closes
    RETURNING to_jsonb(agent_historical_swaps) AS swap
),

made AS (
    INSERT INTO trade_requests (id, agent_id, wallet_address, operation, content_digest, result)
    SELECT
        :request_id,
        agent_id,
        wallet_address,
        CASE WHEN :is_take_profit THEN 'take_profit' ELSE 'sell' END,
        :content_digest,
        CASE
            WHEN (SELECT count(*) FROM moved) = (SELECT count(*) FROM effect)
                AND (SELECT count(*) FROM reduced) + (SELECT count(*) FROM closed) = 1
                THEN jsonb_build_object(
                'balances', (SELECT jsonb_agg(balance ORDER BY balance ->> 'token_address') FROM moved),
                'position', (SELECT position FROM reduced),
                'swap', (SELECT swap FROM swap),
                'closed_position_id', (SELECT id FROM closed)
            )
        END
    FROM go
    RETURNING result
)

SELECT
    coalesce((SELECT outcome FROM refusal), 'made') AS outcome,
    (SELECT figures FROM refusal)::text AS figures,
    coalesce(
        (SELECT transaction FROM ledger),
        (SELECT to_jsonb(t) - '{routes, swap_payload}'::text[] FROM agent_transactions AS t WHERE t.id = :request_id)
    )::text AS transaction,
    coalesce((SELECT result FROM made), (SELECT result FROM prior))::text AS result;

-- name: reset_wallet :one
-- Starts a simulation wallet over: every holding is burned, open positions are given up without a historical swap,
-- and SOL is deposited when an opening amount is given. The ledger keeps all of it.
WITH agent AS (
    SELECT id
    FROM agents
    WHERE id = :agent_id
    FOR KEY SHARE
),

wallet AS (
    SELECT
        w.agent_id,
        w.wallet_address,
        w.wallet_type,
        w.trade_count
    FROM agent
    JOIN agent_wallets AS w ON w.agent_id = agent.id
    WHERE w.wallet_address = :wallet_address
    FOR NO KEY UPDATE OF w
),

prior AS (
    SELECT
        content_digest,
        result
    FROM trade_requests
    WHERE id = :request_id
),

held AS (
    SELECT
        b.id,
        b.token_address,
        b.token_symbol,
        b.balance,
        CASE b.token_address WHEN sol_mint() THEN coalesce(:opening_sol, 0) ELSE 0 END AS opening
    FROM wallet
    JOIN agent_balances AS b ON b.wallet_address = wallet.wallet_address
),

refusal AS (
    SELECT
        'wallet_not_found' AS outcome,
        '{}'::jsonb AS figures,
        1 AS precedence
    WHERE NOT EXISTS (SELECT FROM wallet)
    UNION ALL
    SELECT
        'stale',
        '{}',
        2
    FROM wallet
    JOIN agent_wallets AS seen ON seen.wallet_address = wallet.wallet_address
    WHERE seen.trade_count <> wallet.trade_count
    UNION ALL
    SELECT
        CASE WHEN content_digest = :content_digest THEN 'replayed' ELSE 'idempotency_conflict' END,
        jsonb_build_object('taken_by', 'another order of this id'),
        3
    FROM prior
    UNION ALL
    SELECT
        'idempotency_conflict',
        jsonb_build_object('taken_by', 'transaction ' || id),
        4
    FROM agent_transactions
    WHERE id = :request_id
    UNION ALL
    SELECT
        'wallet_not_simulated',
        jsonb_build_object('wallet_type', wallet_type),
        5
    FROM wallet
    WHERE wallet_type <> 'simulation'
    ORDER BY precedence
    LIMIT 1
),

go AS (
    SELECT
        agent_id,
        wallet_address
    FROM wallet
    WHERE NOT EXISTS (SELECT FROM refusal)
),

settled AS (
    UPDATE agent_balances AS b
    SET
        balance = b.balance - held.balance + held.opening,
        last_updated = now()
    FROM go, held
    WHERE b.id = held.id AND held.balance <> held.opening
    RETURNING to_jsonb(b) AS balance
),

opened AS (
    INSERT INTO agent_balances AS b (agent_id, wallet_address, token_address, token_symbol, balance)
    SELECT
        agent_id,
        wallet_address,
        sol_mint(),
        'SOL',
        :opening_sol
    FROM go
    WHERE :opening_sol > 0 AND NOT EXISTS (SELECT FROM held WHERE token_address = sol_mint())
    RETURNING to_jsonb(b) AS balance
),

given_up AS (
    DELETE FROM agent_positions AS p
    USING go
    WHERE p.agent_id = go.agent_id AND p.wallet_address = go.wallet_address
    RETURNING p.id
),

ledger AS (
    INSERT INTO agent_transactions (
        agent_id,
        wallet_address,
        transaction_type,
        transaction_value_usd,
        transaction_time,
        input_mint,
        input_symbol,
        input_amount
    )
    SELECT
        go.agent_id,
        go.wallet_address,
        entry.transaction_type,
        0,
        coalesce(:transaction_time, now()),
        entry.token_address,
        entry.token_symbol,
        entry.amount
    FROM
        go,
        (
            SELECT
                'BURN'::"TransactionType" AS transaction_type,
                token_address,
                token_symbol,
                balance AS amount
            FROM held
            WHERE balance > 0
            UNION ALL
            SELECT
                'DEPOSIT',
                sol_mint(),
                'SOL',
                :opening_sol
            WHERE :opening_sol > 0
        ) AS entry
    RETURNING to_jsonb(agent_transactions) AS transaction
),

counted AS (
    UPDATE agent_wallets AS w
    SET trade_count = w.trade_count + 1
    FROM go
    WHERE w.wallet_address = go.wallet_address
),

moved AS (
    SELECT balance FROM settled
    UNION ALL
    SELECT balance FROM opened
),

made AS (
    INSERT INTO trade_requests (id, agent_id, wallet_address, operation, content_digest, result)
    SELECT
        :request_id,
        agent_id,
        wallet_address,
        'reset_wallet',
        :content_digest,
        CASE
            WHEN (SELECT count(*) FROM settled) = (SELECT count(*) FROM held WHERE balance <> opening)
                THEN jsonb_build_object(
                'transactions', (SELECT coalesce(jsonb_agg(transaction), '[]') FROM ledger),
                'balances', (SELECT coalesce(jsonb_agg(balance ORDER BY balance ->> 'token_address'), '[]') FROM moved),
                'positions_given_up', (SELECT count(*) FROM given_up),
                'closed_position_ids', (SELECT coalesce(jsonb_agg(id), '[]') FROM given_up)
            )
        END
    FROM go
    RETURNING result
)

SELECT
    coalesce((SELECT outcome FROM refusal), 'made') AS outcome,
    (SELECT figures FROM refusal)::text AS figures,
    NULL::text AS transaction,
    coalesce((SELECT result FROM made), (SELECT result FROM prior))::text AS result;
