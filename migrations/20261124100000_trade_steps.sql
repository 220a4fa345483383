-- Why: every trade is a function of the schema. These are the steps that all of them share: lock the wallet and look for
-- a reason not to trade; change the balances; save the request and leave a row for the cache; return a first result
-- again. A DBA finds the whole write path in this file and those that follow. A step takes and returns as little as it
-- needs, and a row is written by one INSERT with its values: a composite that is filled field by field and handed from
-- function to function costs more than the row's INSERT saves.
--
-- Each trade_*_v1 is SECURITY DEFINER: the roles of services have no right to write to balances, positions and the
-- ledger, only to execute it. It checks that its caller may trade with the wallet (caller_acts_for).
--
-- Lock order: agent, wallet, position, signals, balances. Every writer of these tables keeps to it. The trades of one wallet run
-- one after another, and each statement of a function has a snapshot of its own, so what stands behind the wallet's lock
-- is current.
--
-- A name ends in its version: a release that changes a function adds the next one, so that services of both releases
-- run side by side; a later migration drops the old one.
--
-- Locks: none on tables.
-- Rollback loses: nothing.

-- The path of every function below.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- A UUID v8. It begins as the request id does: ids that rise with time keep the indexes small.
CREATE FUNCTION trade_id_of(agent_id uuid, request_id uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN overlay(
    overlay(
        encode(
            substr(uuid_send(request_id), 1, 6) || substr(sha256(uuid_send(agent_id) || uuid_send(request_id)), 1, 10), 'hex'
        ), '8', 13
    ), '8', 17
)::uuid;

COMMENT ON FUNCTION trade_id_of(uuid, uuid) IS
'The id of the trade, of its transaction and of its stored request, that an agent''s order with this request id makes. '
'Each agent has request ids of its own: nobody takes another''s, or waits for one.';

CREATE FUNCTION act_for_every_user() RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path FROM CURRENT
RETURN true;

COMMENT ON FUNCTION act_for_every_user() IS
'A right in the form of a function: roles that may execute it trade with every wallet, all others with their own user''s.';

CREATE FUNCTION caller_acts_for(user_id uuid) RETURNS boolean
LANGUAGE sql STABLE
RETURN has_function_privilege(
    CASE current_setting('role') WHEN 'none' THEN session_user::text ELSE current_setting('role') END,
    'act_for_every_user()'::regprocedure,
    'EXECUTE'
)
OR user_id = coalesce(
    substring(session_user::text FROM '_user_([0-9a-f]{32})$')::uuid,
    nullif(current_setting('nexgent.user_id', true), '')::uuid
);

COMMENT ON FUNCTION caller_acts_for(uuid) IS
'May the role that called a SECURITY DEFINER function act for this user? Looks at the role, not at current_user, which is '
'the function''s owner. A tenant acts for the user whose id ends the name of its login (nexgent_user_<32 digits>), which no '
'SQL of the session can change; with another login for the one of the setting nexgent.user_id.';

CREATE TYPE trade_result_v1 AS (
    outcome text,
    details jsonb,
    transaction agent_transactions,
    open_position agent_positions,
    swap agent_historical_swaps,
    closed_position_id uuid,
    version bigint,
    balance_ids uuid[], -- noqa: LT01
    token_addresses text[], -- noqa: LT01
    token_symbols text[], -- noqa: LT01
    balances numeric(38, 18)[] -- noqa: LT01
);

COMMENT ON TYPE trade_result_v1 IS
'What a trade returns. outcome: made, duplicate, or the reason not to trade, with its details. Then the rows as the trade '
'left them; of each changed balance the id, token and amount, in the order of the tokens.';

-- The first result of a request, again: the rows as the trade left them, not as they are now.
CREATE FUNCTION first_result_v1(request trade_requests) RETURNS trade_result_v1
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    trade trade_result_v1;
    entry agent_transactions;
    held agent_positions;
    swap agent_historical_swaps;
BEGIN
    SELECT t.* INTO entry FROM agent_transactions AS t WHERE t.id = request.id;
    trade.outcome := 'duplicate';
    trade.transaction := entry;
    trade.version := request.version;
    SELECT array_agg(e.token_address ORDER BY e.token_address COLLATE "C") INTO trade.token_addresses
    FROM transaction_effects(
        entry.transaction_type, entry.input_mint, entry.input_amount, entry.output_mint, entry.output_amount,
        entry.protocol_fee_sol, entry.network_fee_sol, entry.settled_dust
    ) AS e
    WHERE e.change <> 0;
    trade.balance_ids := request.balance_ids;
    trade.balances := request.balances;
    SELECT
        array_agg(
            coalesce(
                b.token_symbol,
                CASE changed.token_address
                    WHEN entry.output_mint THEN entry.output_symbol
                    WHEN entry.input_mint THEN entry.input_symbol
                    ELSE 'SOL'
                END
            )
            ORDER BY changed.place
        )
    INTO trade.token_symbols
    FROM unnest(trade.token_addresses) WITH ORDINALITY AS changed (token_address, place)
    LEFT JOIN agent_balances AS b
        ON b.wallet_address = entry.wallet_address AND b.token_address = changed.token_address;

    IF request.position_values IS NOT NULL THEN
        held := jsonb_populate_record(NULL::agent_positions, request.position_values);
        held.id := request.position_ids[1];
        held.agent_id := request.agent_id;
        held.wallet_address := request.wallet_address;
        held.version := request.version;
        held.updated_at := request.created_at;
        trade.open_position := held;
    ELSIF request.operation IN ('take_profit', 'sell', 'write_off') THEN
        trade.closed_position_id := request.position_ids[1];
        SELECT s.* INTO swap FROM agent_historical_swaps AS s WHERE s.sale_transaction_id = request.id;
        trade.swap := swap;
    END IF;
    RETURN trade;
END
$$;

-- The transaction that has the id of a trade or else its hash and leg; NULL when none has. A partitioned ledger looks
-- elsewhere, with another body.
CREATE FUNCTION transaction_taken_v1(p_trade_id uuid, p_wallet_address text, p_transaction_hash text, p_transaction_leg bigint)
RETURNS uuid
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    taken_by uuid;
BEGIN
    SELECT t.id INTO taken_by FROM agent_transactions AS t WHERE t.id = p_trade_id;
    IF taken_by IS NULL AND p_transaction_hash IS NOT NULL THEN
        SELECT t.id INTO taken_by
        FROM agent_transactions AS t
        WHERE t.wallet_address = p_wallet_address
            AND t.transaction_hash = p_transaction_hash
            AND t.transaction_leg = p_transaction_leg;
    END IF;
    RETURN taken_by;
END
$$;

-- Locks the agent and the wallet, and finds the first reason not to trade: the result is NULL when there is none. A
-- duplicate's result is complete, but for the position that a purchase opened.
CREATE FUNCTION begin_trade_v1(
    p_trade_id uuid,
    p_content_digest bytea,
    p_agent_id uuid,
    p_wallet_address text,
    p_transaction_hash text,
    p_transaction_leg bigint,
    p_expires_at timestamptz
) RETURNS trade_result_v1
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    trade trade_result_v1;
    request trade_requests;
    known_digest bytea;
    taken_by uuid;
BEGIN
    -- A deletion of the agent comes first, or waits. An agent that is being purged trades no more.
    PERFORM
    FROM agents AS a
    JOIN agent_wallets AS w ON w.agent_id = a.id
    WHERE a.id = p_agent_id AND w.wallet_address = p_wallet_address AND caller_acts_for(a.user_id)
        AND NOT EXISTS (SELECT FROM ledger_purges AS l WHERE l.agent_id = p_agent_id AND l.finished_at IS NULL)
    FOR KEY SHARE OF a
    FOR NO KEY UPDATE OF w;
    IF NOT FOUND THEN
        trade.outcome := 'wallet_not_found';
        RETURN trade;
    END IF;

    SELECT r.content_digest INTO known_digest FROM trade_requests AS r WHERE r.id = p_trade_id;
    IF known_digest = p_content_digest THEN
        SELECT r.* INTO request FROM trade_requests AS r WHERE r.id = p_trade_id;
        RETURN first_result_v1(request);
    ELSIF FOUND THEN
        trade.outcome := 'idempotency_conflict';
        trade.details := jsonb_build_object('taken_by', 'another order of this id');
        RETURN trade;
    END IF;

    taken_by := transaction_taken_v1(p_trade_id, p_wallet_address, p_transaction_hash, p_transaction_leg);
    IF taken_by IS NOT NULL THEN
        trade.outcome := 'idempotency_conflict';
        trade.details := jsonb_build_object(
            'taken_by', 'transaction ' || taken_by || CASE WHEN taken_by <> p_trade_id THEN ' of the same hash' ELSE '' END
        );
        RETURN trade;
    END IF;

    -- The clock after the wait for the lock, where now() would be the time before it.
    IF clock_timestamp() >= p_expires_at THEN
        trade.outcome := 'order_expired';
        trade.details := jsonb_build_object('now', clock_timestamp());
        RETURN trade;
    END IF;
    RETURN NULL;
END
$$;

-- Takes the locks of many wallets before their trades, always in the same order.
CREATE FUNCTION lock_wallets_v1(p_agent_ids uuid[], p_wallet_addresses text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM
    FROM agents AS a
    WHERE a.id = ANY(p_agent_ids) AND caller_acts_for(a.user_id)
    ORDER BY a.id
    FOR KEY SHARE;
    PERFORM
    FROM agent_wallets AS w
    JOIN agents AS a ON a.id = w.agent_id
    JOIN unnest(p_agent_ids, p_wallet_addresses) AS asked (agent_id, wallet_address)
        ON asked.agent_id = w.agent_id AND asked.wallet_address = w.wallet_address
    WHERE caller_acts_for(a.user_id)
    ORDER BY w.wallet_address COLLATE "C"
    FOR NO KEY UPDATE OF w;
END
$$;

-- Locks and changes the balances as the transaction that the trade will insert does. A balance that is too small is the
-- last reason not to trade: the function looks for one before it writes anything.
CREATE FUNCTION change_balances_v1(
    p_agent_id uuid,
    p_wallet_address text,
    p_transaction_type "TransactionType",
    p_input_mint text,
    p_input_symbol text,
    p_input_amount numeric,
    p_output_mint text,
    p_output_symbol text,
    p_output_amount numeric,
    p_protocol_fee_sol numeric,
    p_network_fee_sol numeric,
    p_settled_dust numeric DEFAULT NULL
) RETURNS trade_result_v1
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    trade trade_result_v1;
    touched text[] := ARRAY[p_input_mint];
    token text;
    change numeric;
    tokens text[];
    changes numeric[];
    ids uuid[];
    symbols text[];
    balances numeric[];
    new_version bigint;
    balance_id uuid;
    symbol text;
    balance numeric;
BEGIN
    -- In the order of the addresses.
    IF p_output_mint < p_input_mint COLLATE "C" THEN
        touched := p_output_mint || touched;
    ELSIF p_output_mint <> p_input_mint THEN
        touched := touched || p_output_mint;
    END IF;
    IF sol_mint() <> ALL(touched) AND coalesce(p_protocol_fee_sol, p_network_fee_sol) IS NOT NULL THEN
        touched := ARRAY(
            SELECT t.address FROM unnest(touched || sol_mint()) AS t (address) ORDER BY t.address COLLATE "C"
        );
    END IF;

    FOREACH token IN ARRAY touched LOOP
        change := balance_change(
            token, p_transaction_type, p_input_mint, p_input_amount::numeric(38, 18), p_output_mint,
            p_output_amount::numeric(38, 18), p_protocol_fee_sol::numeric(38, 18), p_network_fee_sol::numeric(38, 18),
            p_settled_dust
        );
        CONTINUE WHEN change = 0;
        SELECT
            b.id,
            b.token_symbol,
            b.balance
        INTO balance_id, symbol, balance
        FROM agent_balances AS b
        WHERE b.wallet_address = p_wallet_address AND b.token_address = token
        FOR NO KEY UPDATE;
        IF coalesce(balance, 0) + change < 0 THEN
            trade.outcome := 'insufficient_balance';
            trade.details := jsonb_build_object(
                'token_address', token,
                'balance', coalesce(balance, 0),
                'required', trim_scale(-change)
            );
            RETURN trade;
        END IF;
        tokens := tokens || token;
        changes := changes || change;
        ids := ids || balance_id;
        symbols := symbols || symbol;
    END LOOP;

    -- Behind the locks, so that a row's later version is the higher one.
    new_version := nextval('row_version_seq');
    PERFORM set_config('nexgent.trade', 'on', true);

    FOR place IN 1 .. coalesce(cardinality(changes), 0) LOOP
        IF ids[place] IS NOT NULL THEN
            UPDATE agent_balances AS b
            SET
                balance = b.balance + changes[place],
                last_updated = now(),
                version = new_version
            WHERE b.id = ids[place]
            RETURNING b.balance INTO balance;
        ELSE
            symbol := CASE tokens[place]
                WHEN p_output_mint THEN p_output_symbol
                WHEN p_input_mint THEN p_input_symbol
                ELSE 'SOL'
            END;
            INSERT INTO agent_balances AS b (
                agent_id, wallet_address, token_address, token_symbol, balance, last_updated, version
            )
            VALUES (
                p_agent_id, p_wallet_address, tokens[place], symbol, changes[place], now(), new_version
            )
            ON CONFLICT (wallet_address, token_address) DO NOTHING
            RETURNING b.id, b.balance INTO balance_id, balance;
            ids[place] := balance_id;
            symbols[place] := symbol;
        END IF;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'a writer without the wallet''s lock inserted the balance of % in %',
                tokens[place], p_wallet_address
                USING ERRCODE = 'serialization_failure';
        END IF;
        balances[place] := balance;
    END LOOP;

    trade.outcome := 'made';
    trade.version := new_version;
    trade.balance_ids := ids;
    trade.token_addresses := tokens;
    trade.token_symbols := symbols;
    trade.balances := balances;
    RETURN trade;
END
$$;

-- Saves the request, and leaves one row for the cache. p_inserted_id is NULL where no transaction was inserted, although
-- the trade has one; p_position is given where later trades change what the request must remember of it.
CREATE FUNCTION finish_trade_v1(
    p_trade_id uuid,
    p_inserted_id uuid,
    p_operation text,
    p_content_digest bytea,
    p_agent_id uuid,
    p_wallet_address text,
    p_version bigint,
    p_balance_ids uuid[],
    p_balances numeric[],
    p_token_addresses text[],
    p_position_ids uuid[] DEFAULT '{}',
    p_position_tokens text[] DEFAULT '{}',
    p_closed boolean DEFAULT false,
    p_position agent_positions DEFAULT NULL,
    p_transaction_ids uuid[] DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF p_inserted_id IS NULL THEN
        RAISE EXCEPTION 'a trigger or rule discarded transaction %', p_trade_id USING ERRCODE = 'restrict_violation';
    END IF;
    INSERT INTO trade_requests (
        id, agent_id, wallet_address, operation, content_digest, version, balance_ids, balances, position_ids,
        position_values, transaction_ids
    )
    VALUES (
        p_trade_id,
        p_agent_id,
        p_wallet_address,
        p_operation,
        p_content_digest,
        p_version,
        coalesce(p_balance_ids, '{}'),
        coalesce(p_balances, '{}'),
        p_position_ids,
        CASE
            WHEN p_position.id IS NOT NULL
                THEN jsonb_strip_nulls(
                to_jsonb(p_position) - '{id, agent_id, wallet_address, version, updated_at}'::text[]
            )
        END,
        p_transaction_ids
    );
    INSERT INTO cache_outbox (
        version, entity, deleted, agent_id, wallet_address, token_addresses, position_ids, position_tokens
    )
    VALUES (
        p_version, 'trade', p_closed, p_agent_id, p_wallet_address, p_token_addresses, p_position_ids,
        p_position_tokens
    );
    PERFORM set_config('nexgent.trade', 'off', true);
END
$$;

-- Deletes old requests; returns how many. The id of a pruned request is still refused, by its transaction. A reset has no
-- transaction of its id: its request stays.
CREATE FUNCTION prune_trade_requests_v1(p_before timestamptz, p_limit bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    pruned bigint;
BEGIN
    WITH old AS (
        SELECT r.id
        FROM trade_requests AS r
        WHERE r.created_at < p_before AND r.operation <> 'reset_wallet'
        ORDER BY r.created_at
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    )

    DELETE FROM trade_requests AS r
    WHERE r.id = ANY(ARRAY(SELECT o.id FROM old AS o)) AND r.created_at < p_before;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$;

REVOKE EXECUTE ON FUNCTION act_for_every_user, first_result_v1, transaction_taken_v1, begin_trade_v1, lock_wallets_v1,
change_balances_v1, finish_trade_v1, prune_trade_requests_v1 FROM public;
