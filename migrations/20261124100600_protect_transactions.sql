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
    CONSTRAINT ledger_purges_pkey PRIMARY KEY (id),
    CONSTRAINT ledger_purges_reason_check CHECK (btrim(reason) <> '')
);

COMMENT ON TABLE ledger_purges IS 'One row for each agent whose ledger was deleted: why, by whom, and how much it was.';
COMMENT ON COLUMN ledger_purges.xid IS 'The purge''s transaction: only in it may the agent''s ledger be deleted.';

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

-- Deletes an agent and all that belongs to it, ledger included, and records it. For the owner of the tables only.
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
    INSERT INTO ledger_purges (agent_id, reason, transactions, historical_swaps)
    VALUES (p_agent_id, p_reason, transactions_count, swaps_count)
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

REVOKE EXECUTE ON FUNCTION purge_agent_v1 FROM public;
