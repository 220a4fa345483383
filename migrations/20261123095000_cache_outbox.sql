-- Why: what is cached of agents, balances and positions must follow every committed change. So each change leaves a row
-- here, in its own transaction; the relay removes the row once it has applied the change to the cache. A trade leaves one
-- row for all that it changed, and so does a batch of prices; triggers leave one for each row that any other writer
-- changes (the next migrations). A deletion takes a version of its own, above all that the deleted row had.
-- Locks: none on existing tables.
-- Rollback loses: what was not applied yet. Empty the cache then: nexgent-db cache reset.

CREATE SEQUENCE row_version_seq START WITH 2;

COMMENT ON SEQUENCE row_version_seq IS
'Versions of cached rows. Must stay at CACHE 1: that a later version is a larger number is relied upon.';

CREATE TABLE cache_outbox (
    version bigint NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    entity varchar(10) NOT NULL,
    deleted boolean NOT NULL,
    row_id uuid,
    agent_id uuid,
    wallet_address varchar(44),
    token_address varchar(255),
    token_addresses text[],
    position_ids uuid[],
    position_tokens text[],
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT cache_outbox_pkey PRIMARY KEY (version),
    CONSTRAINT cache_outbox_entity_check CHECK (entity IN ('agent', 'balance', 'position', 'trade', 'prices', 'everything'))
) WITH (
    -- A queue: short, always changing, read from its old end, where dead rows would lie.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 100000
);

COMMENT ON TABLE cache_outbox IS
'Changes that the cache may not show yet: which rows, and the version the change gave them. Delete none by hand.';

COMMENT ON COLUMN cache_outbox.xid IS
'The transaction that made the change: before its COMMIT it reads its own rows here.';

COMMENT ON COLUMN cache_outbox.token_addresses IS 'Of a trade: the tokens whose balances it changed.';
COMMENT ON COLUMN cache_outbox.position_ids IS
'Of a trade or a batch of prices: the positions that it opened or changed, or, where deleted, closed.';
COMMENT ON COLUMN cache_outbox.position_tokens IS 'The tokens of position_ids, in the same order.';

-- The path of the function below.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- TRUNCATE names no rows: the cache is emptied whole.
CREATE FUNCTION truncated_to_cache_outbox() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER -- the roles of services have no right to write to the outbox and its versions
SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO cache_outbox (version, entity, deleted) VALUES (nextval('row_version_seq'), 'everything', true);
    RETURN NULL;
END
$$;

-- Replaces the oldest changes that are older than an age by one flush entry; returns how many. Without a cache, the outbox
-- would grow for ever. Skips what another process is relaying.
CREATE FUNCTION compact_outbox_v1(p_age_s double precision, p_limit bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    replaced bigint;
BEGIN
    WITH oldest AS (
        SELECT o.version, o.created_at, o.entity
        FROM cache_outbox AS o
        ORDER BY o.version
        LIMIT p_limit
    ),

    old AS (
        SELECT o.version, o.entity
        FROM oldest AS o
        WHERE o.created_at < clock_timestamp() - p_age_s * interval '1 second'
    )

    DELETE FROM cache_outbox AS c
    WHERE c.version = ANY(ARRAY(
        SELECT l.version
        FROM cache_outbox AS l
        WHERE l.version = ANY(ARRAY(SELECT o.version FROM old AS o))
            AND EXISTS (SELECT FROM old AS o WHERE o.entity <> 'everything')
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS replaced = ROW_COUNT;
    IF replaced > 0 THEN
        INSERT INTO cache_outbox (version, entity, deleted) VALUES (nextval('row_version_seq'), 'everything', true);
    END IF;
    RETURN replaced;
END
$$;

REVOKE EXECUTE ON FUNCTION truncated_to_cache_outbox, compact_outbox_v1 FROM public;
