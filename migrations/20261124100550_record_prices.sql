-- Why: the price loop writes prices, and the stop losses that follow them, to all open positions of all agents every few
-- seconds: one call for a batch, one version and one outbox row for all that it changes. It is no trade: no money moves.
-- The highest price only rises, the lowest only falls; a stop loss rises, and falls only where that is asked for. So the
-- order in which batches arrive does not matter, and a price that changes nothing writes nothing.
-- Lock order: the wallets in the order of their addresses, then the positions, as for trades. Only those that change are
-- locked. See 20261124100000_trade_steps.
-- Locks: none on tables.
-- Rollback loses: nothing.

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE FUNCTION next_stop_loss(current_stop_loss numeric, given numeric, may_lower boolean) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN may_lower THEN coalesce(given, current_stop_loss) ELSE greatest(current_stop_loss, given) END;

COMMENT ON FUNCTION next_stop_loss(numeric, numeric, boolean) IS
'A position''s stop loss in percent after a given one: it rises, and falls only where it may.';

-- With the columns, not the row: on Citus a row has the type of its shard.
CREATE FUNCTION price_changes(
    peak_price numeric,
    lowest_price numeric,
    current_stop_loss numeric,
    price numeric,
    stop_loss numeric,
    may_lower boolean
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT
RETURN peak_price IS DISTINCT FROM greatest(peak_price, price)
OR lowest_price IS DISTINCT FROM least(lowest_price, price)
OR current_stop_loss IS DISTINCT FROM next_stop_loss(current_stop_loss, stop_loss, may_lower);

COMMENT ON FUNCTION price_changes(numeric, numeric, numeric, numeric, numeric, boolean) IS
'Does a price, with the stop loss that follows it, change a position that has these?';

-- Returns the changed positions as they are now. For the others: 'stale' with the position, where its version is not the
-- expected one; 'closed' for one that is not open, or belongs to another user. 'stop_loss_above_price' names the first
-- position that would get such a stop loss: then nothing has changed.
CREATE FUNCTION record_prices_v1(
    p_position_ids uuid[],
    p_prices numeric[],
    p_stop_losses numeric[],
    p_may_lower boolean[],
    p_expected_versions bigint[]
) RETURNS TABLE (outcome text, position_id uuid, open_position agent_positions)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    changing uuid[];
    wallets text[];
    new_version bigint;
    recorded_at timestamptz := now();
BEGIN
    RETURN QUERY
    SELECT
        'stop_loss_above_price',
        p.id,
        ROW(p.*)::agent_positions
    FROM unnest(p_position_ids, p_prices, p_stop_losses, p_may_lower)
        WITH ORDINALITY AS given (position_id, price, stop_loss, may_lower, place)
    JOIN agent_positions AS p ON p.id = given.position_id
    JOIN agents AS a ON a.id = p.agent_id
    WHERE caller_acts_for(a.user_id)
        AND p.purchase_price * (100 + given.stop_loss) > given.price * 100
        AND next_stop_loss(p.current_stop_loss_percentage, given.stop_loss, given.may_lower)
        IS DISTINCT FROM p.current_stop_loss_percentage
    ORDER BY given.place
    LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;

    SELECT
        array_agg(p.id),
        array_agg(p.wallet_address)
    INTO changing, wallets
    FROM unnest(p_position_ids, p_prices, p_stop_losses, p_may_lower)
        AS given (position_id, price, stop_loss, may_lower)
    JOIN agent_positions AS p ON p.id = given.position_id
    JOIN agents AS a ON a.id = p.agent_id
    WHERE caller_acts_for(a.user_id)
        AND price_changes(
            p.peak_price, p.lowest_price, p.current_stop_loss_percentage, given.price, given.stop_loss, given.may_lower
        );

    IF changing IS NOT NULL THEN
        PERFORM
        FROM agent_wallets AS w
        WHERE w.wallet_address = ANY(wallets)
        ORDER BY w.wallet_address COLLATE "C"
        FOR NO KEY UPDATE;
        PERFORM
        FROM agent_positions AS p
        WHERE p.id = ANY(changing)
        ORDER BY p.id
        FOR NO KEY UPDATE;
        -- Behind the locks, so that a row's later version is the higher one.
        new_version := nextval('row_version_seq');
        PERFORM set_config('nexgent.trade', 'on', true);
        RETURN QUERY
        WITH changed AS (
            UPDATE agent_positions AS p
            SET
                peak_price = greatest(p.peak_price, given.price),
                lowest_price = least(p.lowest_price, given.price),
                current_stop_loss_percentage = next_stop_loss(
                    p.current_stop_loss_percentage, given.stop_loss, given.may_lower
                ),
                last_stop_loss_update = CASE
                    WHEN p.current_stop_loss_percentage IS DISTINCT FROM next_stop_loss(
                        p.current_stop_loss_percentage, given.stop_loss, given.may_lower
                    )
                        THEN recorded_at
                    ELSE p.last_stop_loss_update
                END,
                updated_at = recorded_at,
                version = new_version
            FROM unnest(p_position_ids, p_prices, p_stop_losses, p_may_lower, p_expected_versions)
                AS given (position_id, price, stop_loss, may_lower, expected_version)
            WHERE p.id = given.position_id
                AND p.id = ANY(changing)
                AND price_changes(
                    p.peak_price,
                    p.lowest_price,
                    p.current_stop_loss_percentage,
                    given.price,
                    given.stop_loss,
                    given.may_lower
                )
                AND p.version = coalesce(given.expected_version, p.version)
            RETURNING p.*
        ),

        noted AS (
            INSERT INTO cache_outbox (version, entity, deleted, position_ids, position_tokens)
            SELECT
                new_version,
                'prices',
                false,
                array_agg(c.id),
                array_agg(c.token_address)
            FROM changed AS c
            HAVING count(*) > 0
        )

        SELECT
            'changed',
            c.id,
            c::agent_positions
        FROM changed AS c
        ORDER BY c.id;
        PERFORM set_config('nexgent.trade', 'off', true);
    END IF;

    RETURN QUERY
    SELECT
        CASE WHEN a.id IS NULL THEN 'closed' ELSE 'stale' END,
        given.position_id,
        CASE WHEN a.id IS NOT NULL THEN ROW(p.*)::agent_positions END
    FROM unnest(p_position_ids, p_expected_versions) AS given (position_id, expected_version)
    LEFT JOIN agent_positions AS p ON p.id = given.position_id
    LEFT JOIN agents AS a ON a.id = p.agent_id AND caller_acts_for(a.user_id)
    WHERE a.id IS NULL
        OR (p.version <> given.expected_version AND p.version IS DISTINCT FROM new_version)
    ORDER BY given.position_id;
END
$$;

REVOKE EXECUTE ON FUNCTION record_prices_v1 FROM public;
