-- Why: what is cached of agents, balances and positions must follow every committed change, whoever makes it and
-- whatever happens to them afterwards. So each change leaves a row here, in its own transaction; whoever applied it to
-- the cache removes it. A deletion takes a version of its own, above all that the deleted row had. The next migrations
-- make the tables do so.
-- Locks: none that anybody waits for: the table and the functions are new.
-- Rollback loses: what was not applied yet. Empty the cache then: nexgent-db cache reset.

CREATE TABLE cache_outbox (
    version bigint NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    entity varchar(10) NOT NULL,
    deleted boolean NOT NULL,
    row_id uuid,
    agent_id uuid,
    wallet_address varchar(44),
    token_address varchar(255),
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT cache_outbox_pkey PRIMARY KEY (version),
    CONSTRAINT cache_outbox_entity_check CHECK (entity IN ('agent', 'balance', 'position', 'everything'))
) WITH (
    -- A queue: short, always changing, read from its old end, where dead rows would lie.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 100000
);

COMMENT ON TABLE cache_outbox IS
'Changes that the cache may not show yet: which row, and the version the change gave it. Never a reason to lose one: delete none by hand.';

COMMENT ON COLUMN cache_outbox.xid IS
'The transaction that made the change: before its COMMIT it reads its own rows here.';

COMMENT ON SEQUENCE row_version_seq IS
'Versions of cached rows. Must stay at CACHE 1: that a later version is a larger number is relied upon.';

COMMENT ON FUNCTION set_row_version() IS 'Gives an inserted or updated row the next version.';

-- One function a table. A row that takes another key leaves the old one as if it had been deleted. (A position keeps its
-- id then and is still to be found: whoever applies this sees that only its agent or token lost it.)

CREATE FUNCTION agents_to_cache_outbox() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND NEW.id <> OLD.id) THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id)
        VALUES (nextval('row_version_seq'), 'agent', true, OLD.id, OLD.id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id)
        VALUES (NEW.version, 'agent', false, NEW.id, NEW.id);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION agent_balances_to_cache_outbox() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (
        TG_OP = 'UPDATE'
        AND (NEW.agent_id, NEW.wallet_address, NEW.token_address)
        <> (OLD.agent_id, OLD.wallet_address, OLD.token_address)
    ) THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
        VALUES (
            nextval('row_version_seq'), 'balance', true,
            OLD.id, OLD.agent_id, OLD.wallet_address, OLD.token_address
        );
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
        VALUES (NEW.version, 'balance', false, NEW.id, NEW.agent_id, NEW.wallet_address, NEW.token_address);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION agent_positions_to_cache_outbox() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (
        TG_OP = 'UPDATE' AND (NEW.id, NEW.agent_id, NEW.token_address) <> (OLD.id, OLD.agent_id, OLD.token_address)
    ) THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
        VALUES (
            nextval('row_version_seq'), 'position', true,
            OLD.id, OLD.agent_id, OLD.wallet_address, OLD.token_address
        );
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
        VALUES (NEW.version, 'position', false, NEW.id, NEW.agent_id, NEW.wallet_address, NEW.token_address);
    END IF;
    RETURN NULL;
END
$$;

-- TRUNCATE names no rows: the cache is emptied whole.
CREATE FUNCTION truncated_to_cache_outbox() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO cache_outbox (version, entity, deleted) VALUES (nextval('row_version_seq'), 'everything', true);
    RETURN NULL;
END
$$;
