-- Why: the ledger is append-only, for the owner too: its transactions and historical swaps are neither changed nor deleted,
-- by a statement or by a cascade. There are three exceptions: a deleted signal leaves its transactions; a wallet's rows
-- follow its address, when change_wallet_address_v1 changes it; and a purge of an agent leaves a record here.
-- Locks: SHARE ROW EXCLUSIVE on agent_transactions for an instant; catalog only. Reads go on. Historical swaps follow.
-- Rollback loses: the record of purges, and the protection.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_transactions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE TABLE ledger_purges (
    id uuid NOT NULL DEFAULT new_id(),
    agent_id uuid NOT NULL,
    reason text NOT NULL,
    transactions bigint NOT NULL,
    historical_swaps bigint NOT NULL,
    purged_by text NOT NULL DEFAULT session_user,
    purged_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    finished_at timestamptz,
    reached timestamptz,
    CONSTRAINT ledger_purges_pkey PRIMARY KEY (id),
    CONSTRAINT ledger_purges_reason_check CHECK (btrim(reason) <> '')
);

-- begin_trade_v1 looks for one of the agent.
CREATE UNIQUE INDEX ledger_purges_unfinished_key ON ledger_purges (agent_id) WHERE finished_at IS NULL;

COMMENT ON TABLE ledger_purges IS 'One row for each agent whose ledger was deleted: why, by whom, and how much it was.';
COMMENT ON COLUMN ledger_purges.xid IS 'The purge''s transaction, of many its last: only in it may the agent''s ledger be deleted.';
COMMENT ON COLUMN ledger_purges.finished_at IS 'When the agent was gone; NULL while it is purged in batches: it trades no more.';
COMMENT ON COLUMN ledger_purges.reached IS
'The time up to which batches have deleted transactions, oldest first; NULL before, while they delete what goes first.';

CREATE FUNCTION protect_ledger() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    old_wallet text := OLD.wallet_address;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.signal_id IS NULL THEN
        OLD.signal_id := NULL;
        IF NEW *= OLD THEN
            RETURN NEW;
        END IF;
    END IF;
    -- While a foreign key follows a changed address, and at no other time, the row's wallet does not exist.
    IF TG_OP = 'UPDATE' AND old_wallet = current_setting('nexgent.changed_wallet', true) THEN
        OLD.wallet_address := NEW.wallet_address;
        IF NEW *= OLD AND NOT EXISTS (SELECT FROM agent_wallets AS w WHERE w.wallet_address = old_wallet) THEN
            RETURN NEW;
        END IF;
    END IF;
    PERFORM FROM ledger_purges AS l WHERE l.agent_id = OLD.agent_id AND l.xid = pg_current_xact_id_if_assigned();
    IF FOUND THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    RAISE EXCEPTION 'the ledger is append-only: % of % % is refused', TG_OP, TG_TABLE_NAME, OLD.id
        USING ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
            CONSTRAINT = TG_NAME, HINT = 'An agent with its ledger is deleted by purge_agent_v1(agent_id, reason).';
END
$$;

CREATE TRIGGER agent_transactions_append_only
BEFORE UPDATE OR DELETE ON agent_transactions
FOR EACH ROW EXECUTE FUNCTION protect_ledger();

CREATE FUNCTION protect_whole_ledger() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: TRUNCATE of % is refused', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = replace(TG_NAME, '_whole', '');
END
$$;

CREATE TRIGGER agent_transactions_append_only_whole
BEFORE TRUNCATE ON agent_transactions
FOR EACH STATEMENT EXECUTE FUNCTION protect_whole_ledger();

-- Deletes an agent and all that belongs to it, ledger included, and records it. For the owner of the tables only. All in
-- one transaction: an agent with many rows is deleted in batches, by purge_agent_batch_v1.
CREATE FUNCTION purge_agent_v1(p_agent_id uuid, p_reason text) RETURNS ledger_purges
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    purge ledger_purges;
    transactions_count bigint;
    swaps_count bigint;
BEGIN
    PERFORM FROM agents AS a WHERE a.id = p_agent_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no agent %', p_agent_id USING ERRCODE = 'no_data_found';
    END IF;
    SELECT count(*) INTO transactions_count FROM agent_transactions AS t WHERE t.agent_id = p_agent_id;
    SELECT count(*) INTO swaps_count FROM agent_historical_swaps AS s WHERE s.agent_id = p_agent_id;
    INSERT INTO ledger_purges (agent_id, reason, transactions, historical_swaps, finished_at)
    VALUES (p_agent_id, p_reason, transactions_count, swaps_count, now())
    RETURNING * INTO purge;
    DELETE FROM agent_positions AS p WHERE p.agent_id = p_agent_id;
    DELETE FROM agent_historical_swaps AS s WHERE s.agent_id = p_agent_id;
    DELETE FROM agent_transactions AS t WHERE t.agent_id = p_agent_id;
    DELETE FROM trade_requests AS r WHERE r.agent_id = p_agent_id;
    DELETE FROM agents AS a WHERE a.id = p_agent_id;
    RETURN purge;
END
$$;

COMMENT ON FUNCTION purge_agent_v1(uuid, text) IS
'Deletes an agent and all that belongs to it, ledger included, and records it in ledger_purges.';

-- Deletes the next rows of an agent, at most p_limit of each table, and adds them to the purge's record; the last call
-- deletes the agent and finishes the record. To be called, each time in a transaction of its own, until finished_at is
-- set. From the first call's commit on the agent's trades are refused; nothing else waits. Each batch is the oldest rest,
-- in the order of an index that knows the time: it reads neither what others have deleted nor partitions of other times.
CREATE FUNCTION purge_agent_batch_v1(p_agent_id uuid, p_reason text, p_limit bigint) RETURNS ledger_purges
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    purge ledger_purges;
    deleted uuid[];
    low timestamptz;
    high timestamptz;
    rest bigint := 0;
    gone bigint;
    swaps bigint;
BEGIN
    PERFORM FROM agents AS a WHERE a.id = p_agent_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no agent %', p_agent_id USING ERRCODE = 'no_data_found';
    END IF;
    INSERT INTO ledger_purges AS l (agent_id, reason, transactions, historical_swaps)
    VALUES (p_agent_id, p_reason, 0, 0)
    ON CONFLICT (agent_id) WHERE finished_at IS NULL DO UPDATE SET xid = excluded.xid
    RETURNING * INTO purge;

    IF purge.reached IS NULL THEN
        DELETE FROM agent_positions AS p
        WHERE p.id = ANY(ARRAY(SELECT o.id FROM agent_positions AS o WHERE o.agent_id = p_agent_id LIMIT p_limit));
        GET DIAGNOSTICS rest = ROW_COUNT;
        IF rest < p_limit THEN
            SELECT array_agg(o.id), min(o.sale_time), max(o.sale_time)
            INTO deleted, low, high
            FROM (
                SELECT s.id, s.sale_time
                FROM agent_historical_swaps AS s
                WHERE s.agent_id = p_agent_id
                ORDER BY s.sale_time
                LIMIT p_limit
            ) AS o;
            DELETE FROM agent_historical_swaps AS s
            WHERE s.agent_id = p_agent_id AND s.sale_time BETWEEN low AND high AND s.id = ANY(deleted);
            GET DIAGNOSTICS swaps = ROW_COUNT;
            DELETE FROM agent_balance_snapshots AS s
            WHERE s.agent_id = p_agent_id
                AND s.id = ANY(ARRAY(SELECT o.id FROM agent_balance_snapshots AS o WHERE o.agent_id = p_agent_id LIMIT p_limit));
            GET DIAGNOSTICS gone = ROW_COUNT;
            rest := greatest(rest, swaps, gone);
            DELETE FROM signal_executions AS e
            WHERE e.id = ANY(ARRAY(SELECT o.id FROM signal_executions AS o WHERE o.agent_id = p_agent_id LIMIT p_limit));
            GET DIAGNOSTICS gone = ROW_COUNT;
            rest := greatest(rest, gone);
        END IF;
        purge.reached := CASE WHEN rest < p_limit THEN '-infinity'::timestamptz END;
        deleted := NULL;
    END IF;
    IF purge.reached IS NOT NULL THEN
        SELECT array_agg(o.id), min(o.transaction_time), max(o.transaction_time)
        INTO deleted, low, high
        FROM (
            SELECT t.id, t.transaction_time
            FROM agent_transactions AS t
            WHERE t.agent_id = p_agent_id AND t.transaction_time >= purge.reached
            ORDER BY t.transaction_time
            LIMIT p_limit
        ) AS o;
        DELETE FROM agent_transactions AS t
        WHERE t.agent_id = p_agent_id AND t.transaction_time BETWEEN low AND high AND t.id = ANY(deleted);
        DELETE FROM trade_requests AS r WHERE r.id = ANY(deleted);
        rest := coalesce(cardinality(deleted), 0);
        purge.reached := high;
    END IF;

    IF rest < p_limit THEN
        purge.finished_at := now();
        purge.reached := NULL;
    END IF;
    UPDATE ledger_purges AS l
    SET
        transactions = l.transactions + coalesce(cardinality(deleted), 0),
        historical_swaps = l.historical_swaps + coalesce(swaps, 0),
        finished_at = purge.finished_at,
        reached = purge.reached
    WHERE l.id = purge.id
    RETURNING * INTO purge;
    IF purge.finished_at IS NOT NULL THEN
        DELETE FROM trade_requests AS r
        WHERE r.agent_id = p_agent_id
            AND r.operation = 'reset_wallet'
            AND r.wallet_address = ANY(ARRAY(SELECT w.wallet_address FROM agent_wallets AS w WHERE w.agent_id = p_agent_id));
        DELETE FROM agents AS a WHERE a.id = p_agent_id;
    END IF;
    RETURN purge;
END
$$;

COMMENT ON FUNCTION purge_agent_batch_v1(uuid, text, bigint) IS
'Deletes the next rows of an agent, and at last the agent, recorded in ledger_purges: call it until finished_at is set.';

REVOKE EXECUTE ON FUNCTION purge_agent_v1, purge_agent_batch_v1 FROM public;
