-- What all migrations together make, table by table. Written by `make schema`, never by hand.
-- Nothing reads this file but people: the migrations make the schema, and `make check` compares.

CREATE TYPE "TransactionType" AS ENUM ('DEPOSIT', 'WITHDRAWAL', 'SWAP', 'BURN');

CREATE SEQUENCE row_version_seq START 2;

CREATE SEQUENCE trading_signals_id_seq;

CREATE OR REPLACE FUNCTION act_for_every_user()
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'public', 'pg_temp'
RETURN true;
COMMENT ON FUNCTION act_for_every_user() IS 'A right in the form of a function: roles that may execute it trade with every wallet, all others with their own user''s.';

CREATE OR REPLACE FUNCTION agent_balances_to_cache_outbox()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    IF TG_OP = 'DELETE' OR (
        TG_OP = 'UPDATE' AND (NEW.agent_id, NEW.wallet_address, NEW.token_address) <> (OLD.agent_id, OLD.wallet_address, OLD.token_address)
    ) THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
        VALUES (nextval('row_version_seq'), 'balance', true, OLD.id, OLD.agent_id, OLD.wallet_address, OLD.token_address);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.version := nextval('row_version_seq');
    INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
    VALUES (NEW.version, 'balance', false, NEW.id, NEW.agent_id, NEW.wallet_address, NEW.token_address);
    RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION agent_positions_to_cache_outbox()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    IF TG_OP = 'DELETE' OR (
        TG_OP = 'UPDATE' AND (NEW.id, NEW.agent_id, NEW.token_address) <> (OLD.id, OLD.agent_id, OLD.token_address)
    ) THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
        VALUES (nextval('row_version_seq'), 'position', true, OLD.id, OLD.agent_id, OLD.wallet_address, OLD.token_address);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.version := nextval('row_version_seq');
    INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
    VALUES (NEW.version, 'position', false, NEW.id, NEW.agent_id, NEW.wallet_address, NEW.token_address);
    RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION agents_to_cache_outbox()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    IF TG_OP = 'DELETE' OR (
        TG_OP = 'UPDATE' AND NEW.id <> OLD.id
    ) THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id)
        VALUES (nextval('row_version_seq'), 'agent', true, OLD.id, OLD.id);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.version := nextval('row_version_seq');
    INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id)
    VALUES (NEW.version, 'agent', false, NEW.id, NEW.id);
    RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION sol_mint()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN 'So11111111111111111111111111111111111111112'::text;
COMMENT ON FUNCTION sol_mint() IS 'How SOL is named as a token: the mint of wrapped SOL.';

CREATE OR REPLACE FUNCTION balance_change(token_address text, transaction_type "TransactionType", input_mint text, input_amount numeric, output_mint text, output_amount numeric, protocol_fee_sol numeric, network_fee_sol numeric, settled_dust numeric)
 RETURNS numeric
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ((CASE WHEN (NOT (token_address IS DISTINCT FROM input_mint)) THEN (COALESCE(CASE WHEN (transaction_type = 'DEPOSIT'::"TransactionType") THEN input_amount ELSE (- input_amount) END, (0)::numeric) + COALESCE(settled_dust, (0)::numeric)) ELSE (0)::numeric END + CASE WHEN ((transaction_type = 'SWAP'::"TransactionType") AND (token_address = output_mint)) THEN COALESCE(output_amount, (0)::numeric) ELSE (0)::numeric END) - CASE WHEN (token_address = sol_mint()) THEN (COALESCE(protocol_fee_sol, (0)::numeric) + COALESCE(network_fee_sol, (0)::numeric)) ELSE (0)::numeric END);
COMMENT ON FUNCTION balance_change(text,"TransactionType",text,numeric,text,numeric,numeric,numeric,numeric) IS 'What a transaction does to its wallet''s balance of one token: a deposit adds the input, others take it; a swap adds the
output; fees come off SOL; settled dust is added to the input.';

CREATE OR REPLACE FUNCTION caller_acts_for(user_id uuid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
RETURN (has_function_privilege((CASE current_setting('role'::text) WHEN 'none'::text THEN (SESSION_USER)::text ELSE current_setting('role'::text) END)::name, ('act_for_every_user()'::regprocedure)::oid, 'EXECUTE'::text) OR (user_id = COALESCE(("substring"((SESSION_USER)::text, '_user_([0-9a-f]{32})$'::text))::uuid, (NULLIF(current_setting('nexgent.user_id'::text, true), ''::text))::uuid)));
COMMENT ON FUNCTION caller_acts_for(uuid) IS 'May the role that called a SECURITY DEFINER function act for this user? Looks at the role, not at current_user, which is the function''s owner. A tenant acts for the user whose id ends the name of its login (nexgent_user_<32 digits>), which no SQL of the session can change; with another login for the one of the setting nexgent.user_id.';

CREATE OR REPLACE FUNCTION compact_outbox_v1(p_age_s double precision, p_limit bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION lock_signals_v1(p_signal_ids bigint[])
 RETURNS bigint[]
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    RETURN ARRAY(
        SELECT s.id
        FROM trading_signals AS s
        WHERE s.id = ANY(p_signal_ids)
        ORDER BY s.id
        FOR KEY SHARE
    );
END
$function$;

CREATE OR REPLACE FUNCTION lock_wallets_v1(p_agent_ids uuid[], p_wallet_addresses text[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION new_id()
 RETURNS uuid
 LANGUAGE sql
 PARALLEL SAFE
RETURN uuidv7();
COMMENT ON FUNCTION new_id() IS 'A new id: a UUID v7, which rises with the time. The server''s version decides its body.';

CREATE OR REPLACE FUNCTION next_stop_loss(current_stop_loss numeric, given numeric, may_lower boolean)
 RETURNS numeric
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN may_lower THEN COALESCE(given, current_stop_loss) ELSE GREATEST(current_stop_loss, given) END;
COMMENT ON FUNCTION next_stop_loss(numeric,numeric,boolean) IS 'A position''s stop loss in percent after a given one: it rises, and falls only where it may.';

CREATE OR REPLACE FUNCTION price_changes(peak_price numeric, lowest_price numeric, current_stop_loss numeric, price numeric, stop_loss numeric, may_lower boolean)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'public', 'pg_temp'
RETURN ((peak_price IS DISTINCT FROM GREATEST(peak_price, price)) OR (lowest_price IS DISTINCT FROM LEAST(lowest_price, price)) OR (current_stop_loss IS DISTINCT FROM next_stop_loss(current_stop_loss, stop_loss, may_lower)));
COMMENT ON FUNCTION price_changes(numeric,numeric,numeric,numeric,numeric,boolean) IS 'Does a price, with the stop loss that follows it, change a position that has these?';

CREATE OR REPLACE FUNCTION protect_ledger()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION protect_whole_ledger()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: TRUNCATE of % is refused', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = replace(TG_NAME, '_whole', '');
END
$function$;

CREATE OR REPLACE FUNCTION prune_trade_requests_v1(p_before timestamp with time zone, p_limit bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION ratio(numerator numeric, denominator numeric, decimals integer)
 RETURNS numeric
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ((sign(numerator) * div(((((2)::numeric * abs(numerator)) * power((10)::numeric, (decimals)::numeric)) + denominator), ((2)::numeric * denominator))) * ((1)::numeric / power((10)::numeric, (decimals)::numeric)));
COMMENT ON FUNCTION ratio(numeric,numeric,integer) IS 'numerator / denominator (above zero), correctly rounded to so many decimals, halves away from zero.';

CREATE OR REPLACE FUNCTION require_own_purchase()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    purchase_wallet text := NEW.wallet_address;
BEGIN
    -- A changed address of the wallet reaches the position before its purchase: the old one does not exist any more.
    IF TG_OP = 'UPDATE' AND NOT EXISTS (
        SELECT FROM agent_wallets AS w WHERE w.wallet_address = OLD.wallet_address
    ) THEN
        purchase_wallet := OLD.wallet_address;
    END IF;
    PERFORM
    FROM agent_transactions AS t
    WHERE t.id = NEW.purchase_transaction_id
        AND t.agent_id = NEW.agent_id
        AND t.wallet_address IN (NEW.wallet_address, purchase_wallet);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'transaction % is no purchase of agent % and wallet %',
            NEW.purchase_transaction_id, NEW.agent_id, NEW.wallet_address
            USING ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
                CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION require_wallet()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    RAISE EXCEPTION 'an entry of the ledger needs a wallet'
        USING ERRCODE = 'not_null_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'wallet_address';
END
$function$;

CREATE OR REPLACE FUNCTION trade_id_of(agent_id uuid, request_id uuid)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN ("overlay"("overlay"(encode((substr(uuid_send(request_id), 1, 6) || substr(sha256((uuid_send(agent_id) || uuid_send(request_id))), 1, 10)), 'hex'::text), '8'::text, 13), '8'::text, 17))::uuid;
COMMENT ON FUNCTION trade_id_of(uuid,uuid) IS 'The id of the trade, of its transaction and of its stored request, that an agent''s order with this request id makes. Each agent has request ids of its own: nobody takes another''s, or waits for one.';

CREATE OR REPLACE FUNCTION transaction_effects(transaction_type "TransactionType", input_mint text, input_amount numeric, output_mint text, output_amount numeric, protocol_fee_sol numeric, network_fee_sol numeric, settled_dust numeric)
 RETURNS TABLE(token_address text, change numeric)
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
 SELECT token.address,
     balance_change(token.address, transaction_effects.transaction_type, transaction_effects.input_mint, transaction_effects.input_amount, transaction_effects.output_mint, transaction_effects.output_amount, transaction_effects.protocol_fee_sol, transaction_effects.network_fee_sol, transaction_effects.settled_dust) AS change
    FROM ( SELECT transaction_effects.input_mint AS address
           WHERE (COALESCE(transaction_effects.input_amount, transaction_effects.settled_dust) IS NOT NULL)
         UNION
          SELECT transaction_effects.output_mint AS output_mint
           WHERE ((transaction_effects.transaction_type = 'SWAP'::"TransactionType") AND (transaction_effects.output_amount IS NOT NULL))
         UNION
          SELECT sol_mint() AS sol_mint
           WHERE (COALESCE(transaction_effects.protocol_fee_sol, transaction_effects.network_fee_sol) IS NOT NULL)) token;
END;
COMMENT ON FUNCTION transaction_effects("TransactionType",text,numeric,text,numeric,numeric,numeric,numeric) IS 'What a transaction does to its wallet: the change of each token''s balance.';

CREATE OR REPLACE FUNCTION transaction_taken_v1(p_trade_id uuid, p_wallet_address text, p_transaction_hash text, p_transaction_leg bigint)
 RETURNS uuid
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION truncated_to_cache_outbox()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    INSERT INTO cache_outbox (version, entity, deleted) VALUES (nextval('row_version_seq'), 'everything', true);
    RETURN NULL;
END
$function$;

CREATE TABLE users (
    id                    uuid NOT NULL DEFAULT new_id(),
    email                 character varying(255) NOT NULL,
    password_hash         character varying(255),
    created_at            timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    failed_login_attempts integer NOT NULL DEFAULT 0,
    locked_until          timestamp with time zone,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_times_check CHECK (LEAST(created_at, locked_until) >= '0001-01-02 00:00:00+00'::timestamp with time zone AND GREATEST(created_at, locked_until) < '9999-01-01 00:00:00+00'::timestamp with time zone)
);
CREATE INDEX users_created_at_id_idx ON users (created_at, id);
CREATE UNIQUE INDEX users_email_key ON users (email);
CREATE UNIQUE INDEX users_lower_email_key ON users (lower(NORMALIZE(email) COLLATE "C"));

CREATE TABLE agents (
    id                           uuid NOT NULL DEFAULT new_id(),
    user_id                      uuid NOT NULL,
    name                         character varying(255) NOT NULL,
    trading_mode                 character varying(20) NOT NULL DEFAULT 'simulation'::character varying,
    trading_config               jsonb,
    created_at                   timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at                   timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    automated_trading_simulation boolean NOT NULL DEFAULT true,
    automated_trading_live       boolean NOT NULL DEFAULT true,
    version                      bigint NOT NULL DEFAULT 1,
    CONSTRAINT agents_pkey PRIMARY KEY (id),
    CONSTRAINT agents_times_check CHECK (LEAST(created_at, updated_at) >= '0001-01-02 00:00:00+00'::timestamp with time zone AND GREATEST(created_at, updated_at) < '9999-01-01 00:00:00+00'::timestamp with time zone),
    CONSTRAINT agents_trading_mode_check CHECK (trading_mode::text = ANY (ARRAY['simulation'::text, 'live'::text])),
    CONSTRAINT agents_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX agents_user_id_idx ON agents (user_id);
CREATE TRIGGER agents_to_cache_outbox BEFORE INSERT OR DELETE OR UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION agents_to_cache_outbox();
CREATE TRIGGER agents_truncated_to_cache_outbox AFTER TRUNCATE ON agents FOR EACH STATEMENT EXECUTE FUNCTION truncated_to_cache_outbox();

CREATE TABLE agent_wallets (
    wallet_address character varying(44) NOT NULL,
    agent_id       uuid NOT NULL,
    wallet_type    character varying(20) NOT NULL,
    created_at     timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at     timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT agent_wallets_pkey PRIMARY KEY (wallet_address),
    CONSTRAINT agent_wallets_agent_id_wallet_address_key UNIQUE (agent_id, wallet_address),
    CONSTRAINT agent_wallets_times_check CHECK (LEAST(created_at, updated_at) >= '0001-01-02 00:00:00+00'::timestamp with time zone AND GREATEST(created_at, updated_at) < '9999-01-01 00:00:00+00'::timestamp with time zone),
    CONSTRAINT agent_wallets_wallet_type_check CHECK (wallet_type::text = ANY (ARRAY['simulation'::text, 'live'::text])),
    CONSTRAINT agent_wallets_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents(id) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE UNIQUE INDEX agent_wallets_agent_id_wallet_type_key ON agent_wallets (agent_id, wallet_type);

CREATE TABLE adopted_deviations (
    id             uuid NOT NULL DEFAULT new_id(),
    rule           text NOT NULL,
    agent_id       uuid NOT NULL,
    wallet_address character varying(44) NOT NULL,
    token_address  character varying(255) NOT NULL,
    row_id         uuid,
    figure         text,
    deviation      numeric(38,18),
    CONSTRAINT adopted_deviations_pkey PRIMARY KEY (id),
    CONSTRAINT adopted_deviations_figure_check CHECK ((figure IS NULL) = (deviation IS NULL)),
    CONSTRAINT adopted_deviations_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX adopted_deviations_wallet_address_agent_id_idx ON adopted_deviations (wallet_address, agent_id);
COMMENT ON COLUMN adopted_deviations.deviation IS 'The row''s figure less what the ledger says; NULL where the row breaks a rule without figures.';
COMMENT ON COLUMN adopted_deviations.row_id IS 'The position or swap; NULL for a balance.';
COMMENT ON TABLE adopted_deviations IS 'What rows of an adopted database deviated by from a rule of sql/checks.sql.';

CREATE TABLE agent_balance_snapshots (
    id                    uuid NOT NULL DEFAULT new_id(),
    agent_id              uuid NOT NULL,
    snapshot_timestamp    timestamp with time zone NOT NULL,
    portfolio_balance_sol numeric(38,18) NOT NULL,
    sol_balance           numeric(38,18) NOT NULL,
    positions_value_sol   numeric(38,18) NOT NULL,
    unrealized_pnl_sol    numeric(38,18) NOT NULL,
    created_at            timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at            timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    wallet_address        character varying(44) NOT NULL,
    CONSTRAINT agent_balance_snapshots_pkey PRIMARY KEY (id),
    CONSTRAINT agent_balance_snapshots_times_check CHECK (LEAST(snapshot_timestamp, created_at, updated_at) >= '0001-01-02 00:00:00+00'::timestamp with time zone AND GREATEST(snapshot_timestamp, created_at, updated_at) < '9999-01-01 00:00:00+00'::timestamp with time zone),
    CONSTRAINT agent_balance_snapshots_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE UNIQUE INDEX abs_agent_wallet_timestamp_key ON agent_balance_snapshots (agent_id, wallet_address, snapshot_timestamp);
CREATE INDEX agent_balance_snapshots_snapshot_timestamp_idx ON agent_balance_snapshots (snapshot_timestamp);

CREATE TABLE agent_balances (
    id             uuid NOT NULL DEFAULT new_id(),
    agent_id       uuid NOT NULL,
    wallet_address character varying(44) NOT NULL,
    token_address  character varying(255) NOT NULL,
    token_symbol   character varying(20) NOT NULL,
    balance        numeric(38,18) NOT NULL,
    last_updated   timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    version        bigint NOT NULL DEFAULT 1,
    CONSTRAINT agent_balances_pkey PRIMARY KEY (id),
    CONSTRAINT agent_balances_balance_check CHECK (balance >= 0.0 AND balance <> 'NaN'::numeric),
    CONSTRAINT agent_balances_times_check CHECK (last_updated >= '0001-01-02 00:00:00+00'::timestamp with time zone AND last_updated < '9999-01-01 00:00:00+00'::timestamp with time zone),
    CONSTRAINT agent_balances_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX agent_balances_token_address_wallet_address_idx ON agent_balances (token_address, wallet_address);
CREATE UNIQUE INDEX agent_balances_wallet_address_token_address_key ON agent_balances (wallet_address, token_address);
CREATE TRIGGER agent_balances_to_cache_outbox BEFORE INSERT OR DELETE OR UPDATE ON agent_balances FOR EACH ROW WHEN (current_setting('nexgent.trade'::text, true) IS DISTINCT FROM 'on'::text) EXECUTE FUNCTION agent_balances_to_cache_outbox();
CREATE TRIGGER agent_balances_truncated_to_cache_outbox AFTER TRUNCATE ON agent_balances FOR EACH STATEMENT EXECUTE FUNCTION truncated_to_cache_outbox();

CREATE TABLE trading_signals (
    id                bigint NOT NULL DEFAULT nextval('trading_signals_id_seq'::regclass),
    created_at        timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at        timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    token_address     character varying(255) NOT NULL,
    symbol            character varying(50),
    signal_type       character varying(50) NOT NULL,
    activation_reason text,
    signal_strength   integer NOT NULL,
    source            character varying(100),
    user_id           uuid,
    CONSTRAINT trading_signals_pkey PRIMARY KEY (id),
    CONSTRAINT trading_signals_signal_strength_check CHECK (signal_strength >= 1 AND signal_strength <= 100),
    CONSTRAINT trading_signals_times_check CHECK (LEAST(created_at, updated_at) >= '0001-01-02 00:00:00+00'::timestamp with time zone AND GREATEST(created_at, updated_at) < '9999-01-01 00:00:00+00'::timestamp with time zone),
    CONSTRAINT trading_signals_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON UPDATE CASCADE ON DELETE SET NULL
);
ALTER SEQUENCE trading_signals_id_seq OWNED BY trading_signals.id;
CREATE INDEX trading_signals_token_address_idx ON trading_signals (token_address);
CREATE INDEX trading_signals_user_id_created_at_id_idx ON trading_signals (user_id, created_at, id);

CREATE TABLE agent_transactions (
    id                    uuid NOT NULL DEFAULT new_id(),
    agent_id              uuid NOT NULL,
    wallet_address        character varying(44),
    transaction_type      "TransactionType" NOT NULL,
    transaction_value_usd numeric(20,8) NOT NULL,
    transaction_time      timestamp with time zone NOT NULL,
    destination_address   character varying(255),
    signal_id             bigint,
    fees                  numeric(38,18),
    routes                jsonb,
    input_mint            character varying(255),
    input_symbol          character varying(20),
    input_amount          numeric(38,18),
    input_price           numeric(38,18),
    output_mint           character varying(255),
    output_symbol         character varying(20),
    output_amount         numeric(38,18),
    output_price          numeric(38,18),
    slippage              numeric(20,4),
    price_impact          numeric(20,4),
    is_dca                boolean NOT NULL DEFAULT false,
    transaction_hash      character varying(255),
    created_at            timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at            timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    swap_payload          jsonb,
    is_take_profit        boolean NOT NULL DEFAULT false,
    protocol_fee_sol      numeric(38,18),
    network_fee_sol       numeric(38,18),
    transaction_leg       integer NOT NULL DEFAULT 0,
    realized_profit_sol   numeric(38,18),
    settled_dust          numeric(38,18),
    CONSTRAINT agent_transactions_pkey PRIMARY KEY (id),
    CONSTRAINT agent_transactions_wallet_address_transaction_hash_key UNIQUE (wallet_address, transaction_hash, transaction_leg),
    CONSTRAINT agent_transactions_fees_check CHECK (fees >= 0.0 AND fees <> 'NaN'::numeric AND protocol_fee_sol >= 0.0 AND protocol_fee_sol <> 'NaN'::numeric AND network_fee_sol >= 0.0 AND network_fee_sol <> 'NaN'::numeric),
    CONSTRAINT agent_transactions_input_amount_check CHECK (input_amount > 0.0 AND input_amount <> 'NaN'::numeric),
    CONSTRAINT agent_transactions_output_amount_check CHECK (output_amount > 0.0 AND output_amount <> 'NaN'::numeric),
    CONSTRAINT agent_transactions_prices_check CHECK (input_price >= 0.0 AND input_price <> 'NaN'::numeric AND output_price >= 0.0 AND output_price <> 'NaN'::numeric),
    CONSTRAINT agent_transactions_settled_dust_check CHECK (abs(settled_dust) <= GREATEST(0.00000001, input_amount * 0.000000001) AND settled_dust <> 0.0),
    CONSTRAINT agent_transactions_times_check CHECK (LEAST(transaction_time, created_at, updated_at) >= '0001-01-02 00:00:00+00'::timestamp with time zone AND GREATEST(transaction_time, created_at, updated_at) < '9999-01-01 00:00:00+00'::timestamp with time zone),
    CONSTRAINT agent_transactions_transaction_leg_check CHECK (transaction_leg >= 0),
    CONSTRAINT agent_transactions_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_transactions_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_transactions_signal_id_fkey FOREIGN KEY (signal_id) REFERENCES trading_signals(id) ON UPDATE CASCADE ON DELETE SET NULL
);
CREATE INDEX agent_transactions_agent_id_transaction_time_idx ON agent_transactions (agent_id, transaction_time);
CREATE INDEX agent_transactions_agent_id_transaction_type_idx ON agent_transactions (agent_id, transaction_type);
CREATE INDEX agent_transactions_agent_id_wallet_address_idx ON agent_transactions (agent_id, wallet_address);
CREATE INDEX agent_transactions_realized_profit_idx ON agent_transactions (agent_id, transaction_time) INCLUDE (wallet_address, realized_profit_sol) WHERE realized_profit_sol IS NOT NULL;
CREATE INDEX agent_transactions_signal_id_idx ON agent_transactions (signal_id);
CREATE TRIGGER agent_transactions_append_only BEFORE DELETE OR UPDATE ON agent_transactions FOR EACH ROW EXECUTE FUNCTION protect_ledger();
CREATE TRIGGER agent_transactions_append_only_whole BEFORE TRUNCATE ON agent_transactions FOR EACH STATEMENT EXECUTE FUNCTION protect_whole_ledger();
CREATE TRIGGER agent_transactions_wallet_required BEFORE INSERT ON agent_transactions FOR EACH ROW WHEN (new.wallet_address IS NULL) EXECUTE FUNCTION require_wallet();
COMMENT ON COLUMN agent_transactions.realized_profit_sol IS 'What this sale or write-off added to the profit of its position, net of fees; NULL for other transactions.';
COMMENT ON COLUMN agent_transactions.settled_dust IS 'What a sale added to the balance of its input to settle a difference between position and balance; NULL mostly.';
COMMENT ON COLUMN agent_transactions.transaction_leg IS 'Which movement of the on-chain transaction this is, from 0.';

CREATE TABLE agent_historical_swaps (
    id                      uuid NOT NULL DEFAULT new_id(),
    agent_id                uuid NOT NULL,
    wallet_address          character varying(44),
    token_address           character varying(255) NOT NULL,
    token_symbol            character varying(20) NOT NULL,
    amount                  numeric(38,18) NOT NULL,
    purchase_price          numeric(38,18) NOT NULL,
    sale_price              numeric(38,18) NOT NULL,
    change_percent          numeric(20,4) NOT NULL,
    profit_loss_usd         numeric(20,8),
    profit_loss_sol         numeric(38,18) NOT NULL,
    purchase_time           timestamp with time zone NOT NULL,
    sale_time               timestamp with time zone NOT NULL,
    purchase_transaction_id uuid,
    sale_transaction_id     uuid,
    signal_id               bigint,
    created_at              timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    close_reason            character varying(20),
    CONSTRAINT agent_historical_swaps_pkey PRIMARY KEY (id),
    CONSTRAINT agent_historical_swaps_amount_check CHECK (amount > 0::numeric AND amount <> 'NaN'::numeric),
    CONSTRAINT agent_historical_swaps_close_reason_check CHECK (close_reason::text = ANY (ARRAY['manual'::text, 'stop_loss'::text, 'stale_trade'::text, 'take_profit'::text, 'write_off'::text])),
    CONSTRAINT agent_historical_swaps_sale_time_check CHECK (sale_time >= purchase_time),
    CONSTRAINT agent_historical_swaps_times_check CHECK (LEAST(purchase_time, sale_time, created_at) >= '0001-01-02 00:00:00+00'::timestamp with time zone AND GREATEST(purchase_time, sale_time, created_at) < '9999-01-01 00:00:00+00'::timestamp with time zone),
    CONSTRAINT agent_historical_swaps_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_historical_swaps_purchase_transaction_id_fkey FOREIGN KEY (purchase_transaction_id) REFERENCES agent_transactions(id) ON UPDATE CASCADE ON DELETE SET NULL,
    CONSTRAINT agent_historical_swaps_sale_transaction_id_fkey FOREIGN KEY (sale_transaction_id) REFERENCES agent_transactions(id) ON UPDATE CASCADE ON DELETE SET NULL,
    CONSTRAINT agent_historical_swaps_signal_id_fkey FOREIGN KEY (signal_id) REFERENCES trading_signals(id) ON UPDATE CASCADE ON DELETE SET NULL
);
CREATE INDEX agent_historical_swaps_agent_id_purchase_time_idx ON agent_historical_swaps (agent_id, purchase_time);
CREATE INDEX agent_historical_swaps_agent_id_sale_time_idx ON agent_historical_swaps (agent_id, sale_time);
CREATE INDEX agent_historical_swaps_agent_id_signal_id_idx ON agent_historical_swaps (agent_id, signal_id);
CREATE INDEX agent_historical_swaps_agent_id_token_address_idx ON agent_historical_swaps (agent_id, token_address);
CREATE INDEX agent_historical_swaps_agent_id_wallet_address_idx ON agent_historical_swaps (agent_id, wallet_address);
CREATE INDEX agent_historical_swaps_purchase_transaction_id_idx ON agent_historical_swaps (purchase_transaction_id);
CREATE INDEX agent_historical_swaps_sale_transaction_id_idx ON agent_historical_swaps (sale_transaction_id);
CREATE INDEX agent_historical_swaps_signal_id_idx ON agent_historical_swaps (signal_id);
CREATE TRIGGER agent_historical_swaps_append_only BEFORE DELETE OR UPDATE ON agent_historical_swaps FOR EACH ROW EXECUTE FUNCTION protect_ledger();
CREATE TRIGGER agent_historical_swaps_append_only_whole BEFORE TRUNCATE ON agent_historical_swaps FOR EACH STATEMENT EXECUTE FUNCTION protect_whole_ledger();

CREATE TABLE agent_positions (
    id                           uuid NOT NULL DEFAULT new_id(),
    agent_id                     uuid NOT NULL,
    wallet_address               character varying(44) NOT NULL,
    token_address                character varying(255) NOT NULL,
    token_symbol                 character varying(20) NOT NULL,
    purchase_transaction_id      uuid NOT NULL,
    purchase_price               numeric(38,18) NOT NULL,
    purchase_amount              numeric(38,18) NOT NULL,
    current_stop_loss_percentage numeric(20,4),
    peak_price                   numeric(38,18),
    last_stop_loss_update        timestamp with time zone,
    created_at                   timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at                   timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    dca_count                    integer NOT NULL DEFAULT 0,
    dca_transaction_ids          uuid[] NOT NULL DEFAULT '{}'::uuid[],
    last_dca_time                timestamp with time zone,
    lowest_price                 numeric(38,18),
    total_invested_sol           numeric(38,18) NOT NULL DEFAULT 0,
    remaining_amount             numeric(38,18) NOT NULL,
    take_profit_levels_hit       integer NOT NULL DEFAULT 0,
    take_profit_transaction_ids  uuid[] NOT NULL DEFAULT '{}'::uuid[],
    last_take_profit_time        timestamp with time zone,
    moon_bag_activated           boolean NOT NULL DEFAULT false,
    moon_bag_amount              numeric(38,18),
    realized_profit_sol          numeric(38,18) NOT NULL DEFAULT 0,
    tp_batch_start_level         integer NOT NULL DEFAULT 0,
    total_take_profit_levels     integer,
    proceeds_sol                 numeric(38,18) NOT NULL DEFAULT 0,
    version                      bigint NOT NULL DEFAULT 1,
    CONSTRAINT agent_positions_pkey PRIMARY KEY (id),
    CONSTRAINT agent_positions_counters_check CHECK (dca_count >= 0 AND take_profit_levels_hit >= 0 AND tp_batch_start_level >= 0 AND total_take_profit_levels >= 0),
    CONSTRAINT agent_positions_moon_bag_amount_check CHECK (moon_bag_amount >= 0.0 AND moon_bag_amount <= remaining_amount),
    CONSTRAINT agent_positions_proceeds_sol_check CHECK (proceeds_sol <> 'NaN'::numeric),
    CONSTRAINT agent_positions_purchase_check CHECK (purchase_price >= 0.0 AND purchase_price <> 'NaN'::numeric AND purchase_amount > 0.0 AND purchase_amount <> 'NaN'::numeric AND total_invested_sol >= 0.0 AND total_invested_sol <> 'NaN'::numeric),
    CONSTRAINT agent_positions_remaining_amount_check CHECK (remaining_amount >= 0.0 AND remaining_amount <= purchase_amount),
    CONSTRAINT agent_positions_times_check CHECK (LEAST(last_stop_loss_update, created_at, updated_at, last_dca_time, last_take_profit_time) >= '0001-01-02 00:00:00+00'::timestamp with time zone AND GREATEST(last_stop_loss_update, created_at, updated_at, last_dca_time, last_take_profit_time) < '9999-01-01 00:00:00+00'::timestamp with time zone),
    CONSTRAINT agent_positions_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_positions_purchase_transaction_id_fkey FOREIGN KEY (purchase_transaction_id) REFERENCES agent_transactions(id) ON UPDATE CASCADE ON DELETE RESTRICT
);
CREATE UNIQUE INDEX agent_positions_agent_id_wallet_address_token_address_key ON agent_positions (agent_id, wallet_address, token_address);
CREATE INDEX agent_positions_lower_token_address_idx ON agent_positions (lower(token_address::text COLLATE "C"));
CREATE UNIQUE INDEX agent_positions_purchase_transaction_id_key ON agent_positions (purchase_transaction_id);
CREATE INDEX agent_positions_token_address_agent_id_idx ON agent_positions (token_address, agent_id);
CREATE TRIGGER agent_positions_own_purchase BEFORE INSERT OR UPDATE OF agent_id, wallet_address, purchase_transaction_id ON agent_positions FOR EACH ROW WHEN (current_setting('nexgent.trade'::text, true) IS DISTINCT FROM 'on'::text) EXECUTE FUNCTION require_own_purchase();
CREATE TRIGGER agent_positions_to_cache_outbox BEFORE INSERT OR DELETE OR UPDATE ON agent_positions FOR EACH ROW WHEN (current_setting('nexgent.trade'::text, true) IS DISTINCT FROM 'on'::text) EXECUTE FUNCTION agent_positions_to_cache_outbox();
CREATE TRIGGER agent_positions_truncated_to_cache_outbox AFTER TRUNCATE ON agent_positions FOR EACH STATEMENT EXECUTE FUNCTION truncated_to_cache_outbox();
COMMENT ON COLUMN agent_positions.proceeds_sol IS 'SOL received for what was sold so far, net of fees.';

CREATE TABLE api_keys (
    id           uuid NOT NULL DEFAULT new_id(),
    user_id      uuid NOT NULL,
    name         character varying(100) NOT NULL,
    key_hash     character varying(255) NOT NULL,
    key_prefix   character varying(12) NOT NULL,
    scopes       text[] DEFAULT ARRAY[]::text[],
    created_at   timestamp(6) with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    expires_at   timestamp with time zone,
    revoked_at   timestamp with time zone,
    last_used_at timestamp with time zone,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_expires_at_check CHECK (expires_at > created_at),
    CONSTRAINT api_keys_times_check CHECK (LEAST(created_at, expires_at, revoked_at, last_used_at) >= '0001-01-02 00:00:00+00'::timestamp with time zone AND GREATEST(created_at, expires_at, revoked_at, last_used_at) < '9999-01-01 00:00:00+00'::timestamp with time zone),
    CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE UNIQUE INDEX api_keys_key_hash_key ON api_keys (key_hash);
CREATE INDEX api_keys_user_id_idx ON api_keys (user_id);

CREATE TABLE cache_outbox (
    version         bigint NOT NULL,
    xid             xid8 NOT NULL DEFAULT pg_current_xact_id(),
    entity          character varying(10) NOT NULL,
    deleted         boolean NOT NULL,
    row_id          uuid,
    agent_id        uuid,
    wallet_address  character varying(44),
    token_address   character varying(255),
    token_addresses text[],
    position_ids    uuid[],
    position_tokens text[],
    created_at      timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT cache_outbox_pkey PRIMARY KEY (version),
    CONSTRAINT cache_outbox_entity_check CHECK (entity::text = ANY (ARRAY['agent'::text, 'balance'::text, 'position'::text, 'trade'::text, 'prices'::text, 'everything'::text]))
) WITH (autovacuum_analyze_scale_factor=0, autovacuum_analyze_threshold=100000, autovacuum_vacuum_insert_threshold=-1, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000);
COMMENT ON COLUMN cache_outbox.position_ids IS 'Of a trade or a batch of prices: the positions that it opened or changed, or, where deleted, closed.';
COMMENT ON COLUMN cache_outbox.position_tokens IS 'The tokens of position_ids, in the same order.';
COMMENT ON COLUMN cache_outbox.token_addresses IS 'Of a trade: the tokens whose balances it changed.';
COMMENT ON COLUMN cache_outbox.xid IS 'The transaction that made the change: before its COMMIT it reads its own rows here.';
COMMENT ON TABLE cache_outbox IS 'Changes that the cache may not show yet: which rows, and the version the change gave them. Delete none by hand.';

CREATE TABLE ledger_purges (
    id               uuid NOT NULL DEFAULT new_id(),
    agent_id         uuid NOT NULL,
    reason           text NOT NULL,
    transactions     bigint NOT NULL,
    historical_swaps bigint NOT NULL,
    purged_by        text NOT NULL DEFAULT SESSION_USER,
    purged_at        timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    xid              xid8 NOT NULL DEFAULT pg_current_xact_id(),
    finished_at      timestamp with time zone,
    reached          timestamp with time zone,
    CONSTRAINT ledger_purges_pkey PRIMARY KEY (id),
    CONSTRAINT ledger_purges_reason_check CHECK (btrim(reason) <> ''::text)
);
CREATE UNIQUE INDEX ledger_purges_unfinished_key ON ledger_purges (agent_id) WHERE finished_at IS NULL;
COMMENT ON COLUMN ledger_purges.finished_at IS 'When the agent was gone; NULL while it is purged in batches: it trades no more.';
COMMENT ON COLUMN ledger_purges.reached IS 'The time up to which batches have deleted transactions, oldest first; NULL before, while they delete what goes first.';
COMMENT ON COLUMN ledger_purges.xid IS 'The purge''s transaction, of many its last: only in it may the agent''s ledger be deleted.';
COMMENT ON TABLE ledger_purges IS 'One row for each agent whose ledger was deleted: why, by whom, and how much it was.';

CREATE TABLE signal_executions (
    id             uuid NOT NULL DEFAULT new_id(),
    signal_id      bigint NOT NULL,
    agent_id       uuid NOT NULL,
    status         character varying(20) NOT NULL,
    transaction_id uuid,
    error          text,
    executed_at    timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT signal_executions_pkey PRIMARY KEY (id),
    CONSTRAINT signal_executions_status_check CHECK (status::text = ANY (ARRAY['PENDING'::text, 'EXECUTED'::text, 'FAILED'::text, 'SKIPPED'::text])),
    CONSTRAINT signal_executions_times_check CHECK (executed_at >= '0001-01-02 00:00:00+00'::timestamp with time zone AND executed_at < '9999-01-01 00:00:00+00'::timestamp with time zone),
    CONSTRAINT signal_executions_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT signal_executions_signal_id_fkey FOREIGN KEY (signal_id) REFERENCES trading_signals(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT signal_executions_transaction_id_fkey FOREIGN KEY (transaction_id) REFERENCES agent_transactions(id) ON UPDATE CASCADE ON DELETE SET NULL
);
CREATE INDEX signal_executions_agent_id_idx ON signal_executions (agent_id);
CREATE INDEX signal_executions_pending_idx ON signal_executions (executed_at, id) WHERE status::text = 'PENDING'::text;
CREATE UNIQUE INDEX signal_executions_signal_id_agent_id_key ON signal_executions (signal_id, agent_id);
CREATE INDEX signal_executions_transaction_id_idx ON signal_executions (transaction_id);

CREATE TABLE trade_requests (
    id              uuid NOT NULL,
    agent_id        uuid NOT NULL,
    wallet_address  character varying(44) NOT NULL,
    operation       character varying(20) NOT NULL,
    content_digest  bytea NOT NULL,
    version         bigint NOT NULL,
    balance_ids     uuid[] NOT NULL DEFAULT '{}'::uuid[],
    balances        numeric(38,18)[] NOT NULL DEFAULT '{}'::numeric[],
    position_ids    uuid[] NOT NULL DEFAULT '{}'::uuid[],
    position_values jsonb,
    transaction_ids uuid[],
    created_at      timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT trade_requests_pkey PRIMARY KEY (id),
    CONSTRAINT trade_requests_content_digest_check CHECK (octet_length(content_digest) = 32),
    CONSTRAINT trade_requests_operation_check CHECK (operation::text = ANY (ARRAY['deposit'::text, 'withdrawal'::text, 'burn'::text, 'swap'::text, 'buy'::text, 'dca_buy'::text, 'take_profit'::text, 'sell'::text, 'write_off'::text, 'reset_wallet'::text])),
    CONSTRAINT trade_requests_times_check CHECK (created_at >= '0001-01-02 00:00:00+00'::timestamp with time zone AND created_at < '9999-01-01 00:00:00+00'::timestamp with time zone)
);
CREATE INDEX trade_requests_created_at_idx ON trade_requests (created_at) WHERE operation::text <> 'reset_wallet'::text;
CREATE INDEX trade_requests_resets_idx ON trade_requests (agent_id, wallet_address) WHERE operation::text = 'reset_wallet'::text;
COMMENT ON COLUMN trade_requests.balance_ids IS 'The changed balances, in the order of their tokens, by address.';
COMMENT ON COLUMN trade_requests.balances IS 'The changed balances after the trade, in the same order.';
COMMENT ON COLUMN trade_requests.id IS 'The trade''s id: trade_id_of the agent and the id that the order was sent with. The transaction has it too.';
COMMENT ON COLUMN trade_requests.position_ids IS 'The positions that the trade opened, changed or closed.';
COMMENT ON COLUMN trade_requests.position_values IS 'The position after a DCA buy or a take-profit: the columns that later trades change.';
COMMENT ON COLUMN trade_requests.transaction_ids IS 'The transactions of a wallet''s reset; NULL for other trades, whose transaction has the trade''s id.';
COMMENT ON COLUMN trade_requests.version IS 'The version that the trade gave to every row it changed.';
COMMENT ON TABLE trade_requests IS 'One row for each trade made: what was asked for (a SHA-256), and what its result needs that no other row keeps.';

CREATE TABLE user_cells (
    user_id    uuid NOT NULL,
    cell       character varying(63) NOT NULL,
    updated_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT user_cells_pkey PRIMARY KEY (user_id),
    CONSTRAINT user_cells_cell_check CHECK (cell::text <> ''::text),
    CONSTRAINT user_cells_times_check CHECK (updated_at >= '0001-01-02 00:00:00+00'::timestamp with time zone AND updated_at < '9999-01-01 00:00:00+00'::timestamp with time zone)
);
CREATE INDEX user_cells_cell_user_id_idx ON user_cells (cell, user_id);
COMMENT ON TABLE user_cells IS 'The directory: the cell, which is a schema, of each user. Empty in a cell.';

ALTER TABLE agent_transactions ADD CONSTRAINT agent_transactions_sides_check CHECK (input_mint IS NOT NULL AND input_amount IS NOT NULL AND (transaction_type = 'SWAP'::"TransactionType") = (output_mint IS NOT NULL) AND (transaction_type = 'SWAP'::"TransactionType") = (output_amount IS NOT NULL)) NOT VALID;

ALTER TABLE agent_transactions ADD CONSTRAINT agent_transactions_transaction_value_usd_check CHECK (transaction_value_usd >= 0.0 AND transaction_value_usd <> 'NaN'::numeric) NOT VALID;

CREATE TYPE trade_result_v1 AS (outcome text, details jsonb, transaction agent_transactions, open_position agent_positions, swap agent_historical_swaps, closed_position_id uuid, version bigint, balance_ids uuid[], token_addresses text[], token_symbols text[], balances numeric(38,18)[]);

CREATE OR REPLACE FUNCTION begin_trade_v1(p_trade_id uuid, p_content_digest bytea, p_agent_id uuid, p_wallet_address text, p_transaction_hash text, p_transaction_leg bigint, p_expires_at timestamp with time zone)
 RETURNS trade_result_v1
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION change_balances_v1(p_agent_id uuid, p_wallet_address text, p_transaction_type "TransactionType", p_input_mint text, p_input_symbol text, p_input_amount numeric, p_output_mint text, p_output_symbol text, p_output_amount numeric, p_protocol_fee_sol numeric, p_network_fee_sol numeric, p_settled_dust numeric DEFAULT NULL::numeric)
 RETURNS trade_result_v1
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION change_wallet_address_v1(p_agent_id uuid, p_wallet_address text, p_new_address text)
 RETURNS SETOF agent_wallets
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    wallet agent_wallets;
BEGIN
    -- The locks of a trade, in its order. The wallet's is the strongest at once: a weaker one, raised by the UPDATE,
    -- would deadlock with a writer of snapshots that trades afterwards.
    SELECT w.* INTO wallet
    FROM agents AS a
    JOIN agent_wallets AS w ON w.agent_id = a.id
    WHERE a.id = p_agent_id AND w.wallet_address = p_wallet_address AND caller_acts_for(a.user_id)
    FOR KEY SHARE OF a
    FOR UPDATE OF w;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_new_address = p_wallet_address THEN
        RETURN NEXT wallet;
        RETURN;
    END IF;
    PERFORM
    FROM agent_positions AS p
    WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address
    ORDER BY p.token_address
    FOR UPDATE;
    PERFORM
    FROM agent_balances AS b
    WHERE b.wallet_address = p_wallet_address
    ORDER BY b.token_address
    FOR UPDATE;

    PERFORM set_config('nexgent.changed_wallet', p_wallet_address, true);
    UPDATE agent_wallets AS w
    SET
        wallet_address = p_new_address,
        updated_at = now()
    WHERE w.wallet_address = p_wallet_address
    RETURNING w.* INTO wallet;
    PERFORM set_config('nexgent.changed_wallet', '', true);

    -- The stored orders have no foreign key. Each has the id of its transaction, except for the orders of resets.
    UPDATE trade_requests AS r
    SET wallet_address = p_new_address
    FROM agent_transactions AS t
    WHERE t.agent_id = p_agent_id
        AND t.wallet_address = p_new_address
        AND r.id = t.id
        AND r.wallet_address = p_wallet_address;
    UPDATE trade_requests AS r
    SET wallet_address = p_new_address
    WHERE r.agent_id = p_agent_id AND r.wallet_address = p_wallet_address AND r.operation = 'reset_wallet';
    RETURN NEXT wallet;
END
$function$;
COMMENT ON FUNCTION change_wallet_address_v1(uuid,text,text) IS 'Gives a wallet another address; every row that names the old one follows.';

CREATE OR REPLACE FUNCTION close_position_v1(held agent_positions, purchase agent_transactions, closing agent_transactions, p_closed_at timestamp with time zone, p_close_reason text)
 RETURNS agent_historical_swaps
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    profit_sol numeric := held.realized_profit_sol + closing.realized_profit_sol;
    received_sol numeric;
    swap agent_historical_swaps;
BEGIN
    SELECT coalesce(sum(t.output_amount), 0) INTO received_sol
    FROM agent_transactions AS t
    WHERE t.id = ANY(held.take_profit_transaction_ids || closing.id);

    DELETE FROM agent_positions AS p WHERE p.id = held.id;
    INSERT INTO agent_historical_swaps AS s (
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
    VALUES (
        held.agent_id,
        held.wallet_address,
        held.token_address,
        held.token_symbol,
        held.purchase_amount,
        held.purchase_price,
        ratio(received_sol, held.purchase_amount, 18),
        coalesce(ratio(100 * profit_sol, nullif(held.purchase_price * held.purchase_amount, 0), 4), 0),
        ratio(profit_sol * nullif(closing.transaction_value_usd, 0), closing.output_amount, 8),
        profit_sol,
        purchase.transaction_time,
        p_closed_at,
        purchase.id,
        closing.id,
        purchase.signal_id,
        p_close_reason
    )
    RETURNING s.* INTO swap;
    RETURN swap;
END
$function$;

CREATE OR REPLACE FUNCTION finish_trade_v1(p_trade_id uuid, p_inserted_id uuid, p_operation text, p_content_digest bytea, p_agent_id uuid, p_wallet_address text, p_version bigint, p_balance_ids uuid[], p_balances numeric[], p_token_addresses text[], p_position_ids uuid[] DEFAULT '{}'::uuid[], p_position_tokens text[] DEFAULT '{}'::text[], p_closed boolean DEFAULT false, p_position agent_positions DEFAULT NULL::agent_positions, p_transaction_ids uuid[] DEFAULT NULL::uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION first_result_v1(request trade_requests)
 RETURNS trade_result_v1
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION opened_position_v1(p_id uuid, purchase agent_transactions, p_version bigint, p_token_symbol text, p_stop_loss_percentage numeric, p_take_profit_levels bigint, OUT opened agent_positions)
 RETURNS agent_positions
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    opened.id := p_id;
    opened.agent_id := purchase.agent_id;
    opened.wallet_address := purchase.wallet_address;
    opened.token_address := purchase.output_mint;
    opened.token_symbol := p_token_symbol;
    opened.purchase_transaction_id := purchase.id;
    opened.purchase_price := purchase.output_price;
    opened.purchase_amount := purchase.output_amount;
    opened.current_stop_loss_percentage := p_stop_loss_percentage;
    opened.peak_price := purchase.output_price;
    opened.lowest_price := purchase.output_price;
    opened.created_at := purchase.created_at;
    opened.updated_at := purchase.created_at;
    opened.dca_count := 0;
    opened.dca_transaction_ids := '{}';
    opened.total_invested_sol := purchase.input_amount
        + coalesce(purchase.protocol_fee_sol, 0) + coalesce(purchase.network_fee_sol, 0);
    opened.remaining_amount := purchase.output_amount;
    opened.take_profit_levels_hit := 0;
    opened.take_profit_transaction_ids := '{}';
    opened.moon_bag_activated := false;
    opened.realized_profit_sol := 0;
    opened.proceeds_sol := 0;
    opened.tp_batch_start_level := 0;
    opened.total_take_profit_levels := p_take_profit_levels;
    opened.version := p_version;
END
$function$;

CREATE OR REPLACE FUNCTION purge_agent_batch_v1(p_agent_id uuid, p_reason text, p_limit bigint)
 RETURNS ledger_purges
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;
COMMENT ON FUNCTION purge_agent_batch_v1(uuid,text,bigint) IS 'Deletes the next rows of an agent, and at last the agent, recorded in ledger_purges: call it until finished_at is set.';

CREATE OR REPLACE FUNCTION purge_agent_v1(p_agent_id uuid, p_reason text)
 RETURNS ledger_purges
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;
COMMENT ON FUNCTION purge_agent_v1(uuid,text) IS 'Deletes an agent and all that belongs to it, ledger included, and records it in ledger_purges.';

CREATE OR REPLACE FUNCTION record_prices_v1(p_position_ids uuid[], p_prices numeric[], p_stop_losses numeric[], p_may_lower boolean[], p_expected_versions bigint[])
 RETURNS TABLE(outcome text, position_id uuid, open_position agent_positions)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION trade_buy_v1(p_request_id uuid, p_content_digest bytea, p_agent_id uuid, p_wallet_address text, p_transaction_time timestamp with time zone, p_expires_at timestamp with time zone, p_transaction_value_usd numeric, p_signal_id bigint, p_transaction_hash text, p_transaction_leg bigint, p_protocol_fee_sol numeric, p_network_fee_sol numeric, p_slippage numeric, p_price_impact numeric, p_routes jsonb, p_swap_payload jsonb, p_token_address text, p_token_symbol text, p_sol_amount numeric, p_token_amount numeric, p_stop_loss_percentage numeric, p_take_profit_levels bigint)
 RETURNS trade_result_v1
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    trade_id uuid := trade_id_of(p_agent_id, p_request_id);
    trade trade_result_v1;
    entry agent_transactions;
    opened agent_positions;
    remaining numeric;
BEGIN
    trade := begin_trade_v1(
        trade_id, p_content_digest, p_agent_id, p_wallet_address, p_transaction_hash, p_transaction_leg, p_expires_at
    );
    IF trade.outcome = 'duplicate' THEN
        SELECT r.position_ids[1] INTO opened.id FROM trade_requests AS r WHERE r.id = trade_id;
        trade.open_position := opened_position_v1(
            opened.id, trade.transaction, trade.version, p_token_symbol, p_stop_loss_percentage, p_take_profit_levels
        );
    END IF;
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    SELECT p.remaining_amount INTO remaining
    FROM agent_positions AS p
    WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address AND p.token_address = p_token_address;
    IF FOUND THEN
        trade.outcome := 'position_exists';
        trade.details := jsonb_build_object('remaining', remaining);
        RETURN trade;
    END IF;

    trade := change_balances_v1(
        p_agent_id, p_wallet_address, 'SWAP', sol_mint(), 'SOL', p_sol_amount,
        p_token_address, p_token_symbol, p_token_amount, p_protocol_fee_sol, p_network_fee_sol
    );
    IF trade.outcome <> 'made' THEN
        RETURN trade;
    END IF;

    INSERT INTO agent_transactions AS t (
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
        network_fee_sol,
        updated_at
    )
    VALUES (
        trade_id,
        p_agent_id,
        p_wallet_address,
        'SWAP',
        p_transaction_value_usd,
        coalesce(p_transaction_time, now()),
        p_signal_id,
        p_routes,
        sol_mint(),
        'SOL',
        p_sol_amount,
        1,
        p_token_address,
        p_token_symbol,
        p_token_amount,
        ratio(p_sol_amount, p_token_amount, 18),
        p_slippage,
        p_price_impact,
        p_transaction_hash,
        coalesce(p_transaction_leg, 0),
        p_swap_payload,
        p_protocol_fee_sol,
        p_network_fee_sol,
        now()
    )
    RETURNING t.* INTO entry;
    trade.transaction := entry;

    INSERT INTO agent_positions AS p (
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
        remaining_amount,
        total_take_profit_levels,
        updated_at,
        version
    )
    VALUES (
        p_agent_id,
        p_wallet_address,
        p_token_address,
        p_token_symbol,
        entry.id,
        entry.output_price,
        entry.output_amount,
        p_stop_loss_percentage,
        entry.output_price,
        entry.output_price,
        entry.input_amount + coalesce(entry.protocol_fee_sol, 0) + coalesce(entry.network_fee_sol, 0),
        entry.output_amount,
        p_take_profit_levels,
        now(),
        trade.version
    )
    RETURNING p.* INTO opened;
    trade.open_position := opened;
    PERFORM finish_trade_v1(
        trade_id, entry.id, 'buy', p_content_digest, p_agent_id, p_wallet_address,
        trade.version, trade.balance_ids, trade.balances, trade.token_addresses,
        ARRAY[opened.id], ARRAY[p_token_address]
    );
    RETURN trade;
END
$function$;

CREATE OR REPLACE FUNCTION trade_dca_buy_v1(p_request_id uuid, p_content_digest bytea, p_agent_id uuid, p_wallet_address text, p_transaction_time timestamp with time zone, p_expires_at timestamp with time zone, p_transaction_value_usd numeric, p_signal_id bigint, p_transaction_hash text, p_transaction_leg bigint, p_protocol_fee_sol numeric, p_network_fee_sol numeric, p_slippage numeric, p_price_impact numeric, p_routes jsonb, p_swap_payload jsonb, p_token_address text, p_token_symbol text, p_sol_amount numeric, p_token_amount numeric, p_take_profit_levels bigint, p_expected_dca_count bigint)
 RETURNS trade_result_v1
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    trade_id uuid := trade_id_of(p_agent_id, p_request_id);
    trade trade_result_v1;
    held agent_positions;
    entry agent_transactions;
    price numeric := ratio(p_sol_amount, p_token_amount, 18);
    spent_sol numeric := p_sol_amount + coalesce(p_protocol_fee_sol, 0) + coalesce(p_network_fee_sol, 0);
BEGIN
    trade := begin_trade_v1(
        trade_id, p_content_digest, p_agent_id, p_wallet_address, p_transaction_hash, p_transaction_leg, p_expires_at
    );
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    SELECT p.* INTO held
    FROM agent_positions AS p
    WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address AND p.token_address = p_token_address
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        trade.outcome := 'position_not_found';
        RETURN trade;
    END IF;
    IF held.dca_count <> p_expected_dca_count THEN
        trade.outcome := 'stale_position';
        trade.details := jsonb_build_object(
            'counter', 'dca_count', 'expected', p_expected_dca_count, 'actual', held.dca_count
        );
        RETURN trade;
    END IF;

    trade := change_balances_v1(
        p_agent_id, p_wallet_address, 'SWAP', sol_mint(), 'SOL', p_sol_amount,
        p_token_address, p_token_symbol, p_token_amount, p_protocol_fee_sol, p_network_fee_sol
    );
    IF trade.outcome <> 'made' THEN
        RETURN trade;
    END IF;

    INSERT INTO agent_transactions AS t (
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
        network_fee_sol,
        updated_at
    )
    VALUES (
        trade_id,
        p_agent_id,
        p_wallet_address,
        'SWAP',
        p_transaction_value_usd,
        coalesce(p_transaction_time, now()),
        p_signal_id,
        p_routes,
        sol_mint(),
        'SOL',
        p_sol_amount,
        1,
        p_token_address,
        p_token_symbol,
        p_token_amount,
        ratio(p_sol_amount, p_token_amount, 18),
        p_slippage,
        p_price_impact,
        true,
        p_transaction_hash,
        coalesce(p_transaction_leg, 0),
        p_swap_payload,
        p_protocol_fee_sol,
        p_network_fee_sol,
        now()
    )
    RETURNING t.* INTO entry;
    trade.transaction := entry;

    UPDATE agent_positions AS p
    SET
        purchase_price = ratio(p.total_invested_sol + spent_sol, p.purchase_amount + p_token_amount, 18),
        purchase_amount = p.purchase_amount + p_token_amount,
        total_invested_sol = p.total_invested_sol + spent_sol,
        remaining_amount = p.remaining_amount + p_token_amount,
        peak_price = greatest(p.peak_price, price),
        lowest_price = least(p.lowest_price, price),
        dca_count = p.dca_count + 1,
        dca_transaction_ids = array_append(p.dca_transaction_ids, trade_id),
        last_dca_time = entry.transaction_time,
        tp_batch_start_level = p.take_profit_levels_hit,
        total_take_profit_levels = coalesce(
            p.take_profit_levels_hit + p_take_profit_levels, p.total_take_profit_levels
        ),
        updated_at = now(),
        version = trade.version
    WHERE p.id = held.id
    RETURNING p.* INTO held;
    trade.open_position := held;
    PERFORM finish_trade_v1(
        trade_id, entry.id, 'dca_buy', p_content_digest, p_agent_id, p_wallet_address,
        trade.version, trade.balance_ids, trade.balances, trade.token_addresses,
        ARRAY[held.id], ARRAY[p_token_address], p_position => held
    );
    RETURN trade;
END
$function$;

CREATE OR REPLACE FUNCTION trade_record_transaction_v1(p_request_id uuid, p_content_digest bytea, p_agent_id uuid, p_wallet_address text, p_transaction_time timestamp with time zone, p_expires_at timestamp with time zone, p_transaction_value_usd numeric, p_signal_id bigint, p_transaction_hash text, p_transaction_leg bigint, p_protocol_fee_sol numeric, p_network_fee_sol numeric, p_slippage numeric, p_price_impact numeric, p_routes jsonb, p_swap_payload jsonb, p_transaction_type "TransactionType", p_destination_address text, p_input_mint text, p_input_symbol text, p_input_amount numeric, p_input_price numeric, p_output_mint text, p_output_symbol text, p_output_amount numeric, p_output_price numeric)
 RETURNS trade_result_v1
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    trade_id uuid := trade_id_of(p_agent_id, p_request_id);
    trade trade_result_v1;
    entry agent_transactions;
BEGIN
    trade := begin_trade_v1(
        trade_id, p_content_digest, p_agent_id, p_wallet_address, p_transaction_hash, p_transaction_leg, p_expires_at
    );
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    trade := change_balances_v1(
        p_agent_id, p_wallet_address, p_transaction_type, p_input_mint, p_input_symbol, p_input_amount,
        p_output_mint, p_output_symbol, p_output_amount, p_protocol_fee_sol, p_network_fee_sol
    );
    IF trade.outcome <> 'made' THEN
        RETURN trade;
    END IF;

    INSERT INTO agent_transactions AS t (
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
        network_fee_sol,
        updated_at
    )
    VALUES (
        trade_id,
        p_agent_id,
        p_wallet_address,
        p_transaction_type,
        p_transaction_value_usd,
        coalesce(p_transaction_time, now()),
        p_destination_address,
        p_signal_id,
        p_routes,
        p_input_mint,
        p_input_symbol,
        p_input_amount,
        p_input_price,
        p_output_mint,
        p_output_symbol,
        p_output_amount,
        p_output_price,
        p_slippage,
        p_price_impact,
        p_transaction_hash,
        coalesce(p_transaction_leg, 0),
        p_swap_payload,
        p_protocol_fee_sol,
        p_network_fee_sol,
        now()
    )
    RETURNING t.* INTO entry;
    trade.transaction := entry;
    PERFORM finish_trade_v1(
        trade_id, entry.id, lower(p_transaction_type::text COLLATE "C"), p_content_digest, p_agent_id,
        p_wallet_address, trade.version, trade.balance_ids, trade.balances, trade.token_addresses
    );
    RETURN trade;
END
$function$;

CREATE OR REPLACE FUNCTION trade_reset_wallet_v1(p_request_id uuid, p_content_digest bytea, p_agent_id uuid, p_wallet_address text, p_transaction_time timestamp with time zone, p_expires_at timestamp with time zone, p_opening_sol numeric, OUT trade trade_result_v1, OUT transactions agent_transactions[], OUT closed_position_ids uuid[])
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    trade_id uuid := trade_id_of(p_agent_id, p_request_id);
    closed_tokens text[];
    transaction_ids uuid[];
    wallet_type text;
BEGIN
    trade := begin_trade_v1(trade_id, p_content_digest, p_agent_id, p_wallet_address, NULL, NULL, p_expires_at);
    IF trade.outcome = 'duplicate' THEN
        SELECT r.position_ids, r.transaction_ids INTO closed_position_ids, transaction_ids
        FROM trade_requests AS r
        WHERE r.id = trade_id;
        SELECT array_agg(t ORDER BY t.transaction_type DESC, t.input_mint COLLATE "C") INTO transactions
        FROM agent_transactions AS t
        WHERE t.id = ANY(transaction_ids);
        SELECT
            array_agg(c.token_address ORDER BY c.token_address COLLATE "C"),
            array_agg(coalesce(b.token_symbol, c.token_symbol) ORDER BY c.token_address COLLATE "C")
        INTO trade.token_addresses, trade.token_symbols
        FROM (
            SELECT
                t.input_mint AS token_address,
                min(t.input_symbol) AS token_symbol
            FROM unnest(transactions) AS t
            GROUP BY t.input_mint
            HAVING sum(CASE t.transaction_type WHEN 'DEPOSIT' THEN t.input_amount ELSE -t.input_amount END) <> 0
        ) AS c
        LEFT JOIN agent_balances AS b
            ON b.wallet_address = p_wallet_address AND b.token_address = c.token_address;
    END IF;
    IF trade.outcome IS NOT NULL THEN
        RETURN;
    END IF;

    SELECT w.wallet_type INTO wallet_type FROM agent_wallets AS w WHERE w.wallet_address = p_wallet_address;
    IF wallet_type <> 'simulation' THEN
        trade.outcome := 'wallet_not_simulated';
        trade.details := jsonb_build_object('wallet_type', wallet_type);
        RETURN;
    END IF;

    PERFORM
    FROM agent_positions AS p
    WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address
    ORDER BY p.token_address COLLATE "C"
    FOR UPDATE;
    PERFORM
    FROM agent_balances AS b
    WHERE b.wallet_address = p_wallet_address
    ORDER BY b.token_address COLLATE "C"
    FOR NO KEY UPDATE;
    trade.version := nextval('row_version_seq');
    PERFORM set_config('nexgent.trade', 'on', true);

    WITH abandoned AS (
        DELETE FROM agent_positions AS p
        WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address
        RETURNING
            p.id,
            p.token_address
    )

    SELECT
        coalesce(array_agg(a.id ORDER BY a.id), '{}'),
        coalesce(array_agg(a.token_address ORDER BY a.id), '{}')
    INTO closed_position_ids, closed_tokens
    FROM abandoned AS a;

    WITH inserted AS (
        INSERT INTO agent_transactions AS t (
            id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time,
            input_mint, input_symbol, input_amount, updated_at
        )
        SELECT
            new_id(), p_agent_id, p_wallet_address, e.transaction_type, 0, coalesce(p_transaction_time, now()),
            e.token_address, e.token_symbol, e.amount, now()
        FROM (
            SELECT
                'BURN'::"TransactionType" AS transaction_type,
                b.token_address,
                b.token_symbol,
                b.balance AS amount
            FROM agent_balances AS b
            WHERE b.wallet_address = p_wallet_address AND b.balance > 0
            UNION ALL
            SELECT
                'DEPOSIT',
                sol_mint(),
                'SOL',
                p_opening_sol
            WHERE p_opening_sol > 0
        ) AS e
        RETURNING t.*
    )

    SELECT
        array_agg(i::agent_transactions ORDER BY i.transaction_type DESC, i.input_mint COLLATE "C"),
        coalesce(array_agg(i.id), '{}')
    INTO transactions, transaction_ids
    FROM inserted AS i;

    IF p_opening_sol > 0 THEN
        INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance, version)
        VALUES (p_agent_id, p_wallet_address, sol_mint(), 'SOL', 0, trade.version)
        ON CONFLICT (wallet_address, token_address) DO NOTHING;
    END IF;
    WITH changed AS (
        UPDATE agent_balances AS b
        SET
            balance = after.balance,
            last_updated = now(),
            version = trade.version
        FROM (
            SELECT
                h.id,
                CASE WHEN h.token_address = sol_mint() THEN coalesce(p_opening_sol, 0) ELSE 0 END AS balance
            FROM agent_balances AS h
            WHERE h.wallet_address = p_wallet_address
        ) AS after
        WHERE b.id = after.id AND b.balance <> after.balance
        RETURNING b.*
    )

    SELECT
        array_agg(c.id ORDER BY c.token_address COLLATE "C"),
        array_agg(c.token_address ORDER BY c.token_address COLLATE "C"),
        array_agg(c.token_symbol ORDER BY c.token_address COLLATE "C"),
        array_agg(c.balance ORDER BY c.token_address COLLATE "C")
    INTO trade.balance_ids, trade.token_addresses, trade.token_symbols, trade.balances
    FROM changed AS c;

    trade.outcome := 'made';
    PERFORM finish_trade_v1(
        trade_id, trade_id, 'reset_wallet', p_content_digest, p_agent_id, p_wallet_address,
        trade.version, trade.balance_ids, trade.balances, trade.token_addresses,
        closed_position_ids, closed_tokens, true, p_transaction_ids => transaction_ids
    );
END
$function$;

CREATE OR REPLACE FUNCTION trade_sell_v1(p_request_id uuid, p_content_digest bytea, p_agent_id uuid, p_wallet_address text, p_transaction_time timestamp with time zone, p_expires_at timestamp with time zone, p_transaction_value_usd numeric, p_signal_id bigint, p_transaction_hash text, p_transaction_leg bigint, p_protocol_fee_sol numeric, p_network_fee_sol numeric, p_slippage numeric, p_price_impact numeric, p_routes jsonb, p_swap_payload jsonb, p_token_address text, p_token_symbol text, p_sol_amount numeric, p_token_amount numeric, p_is_take_profit boolean, p_levels_hit bigint, p_moon_bag_amount numeric, p_expected_levels_hit bigint, p_close_reason text, p_up_to_dust boolean)
 RETURNS trade_result_v1
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    trade_id uuid := trade_id_of(p_agent_id, p_request_id);
    trade trade_result_v1;
    entry agent_transactions;
    held agent_positions;
    purchase agent_transactions;
    dust numeric;
    left_over numeric;
    in_wallet numeric;
    moon_bag numeric;
    settled_dust numeric(38, 18);
    signals bigint[];
    sold_at timestamptz;
    received_sol numeric := p_sol_amount - coalesce(p_protocol_fee_sol, 0) - coalesce(p_network_fee_sol, 0);
BEGIN
    trade := begin_trade_v1(
        trade_id, p_content_digest, p_agent_id, p_wallet_address, p_transaction_hash, p_transaction_leg, p_expires_at
    );
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    SELECT p.* INTO held
    FROM agent_positions AS p
    WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address AND p.token_address = p_token_address
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        trade.outcome := 'position_not_found';
        RETURN trade;
    END IF;
    SELECT t.* INTO purchase FROM agent_transactions AS t WHERE t.id = held.purchase_transaction_id;
    left_over := held.remaining_amount - p_token_amount;
    dust := greatest(0.00000001, least(held.purchase_amount * 0.00000000000001, p_token_amount * 0.000000001));
    IF p_up_to_dust AND abs(left_over) <= dust THEN
        -- The wallet's lock keeps the balance as it is.
        SELECT b.balance INTO in_wallet
        FROM agent_balances AS b
        WHERE b.wallet_address = p_wallet_address AND b.token_address = p_token_address;
        IF NOT p_is_take_profit OR least(left_over, in_wallet - p_token_amount) <= dust / 10 THEN
            left_over := 0;
            IF abs(p_token_amount - in_wallet) <= dust THEN
                settled_dust := nullif(p_token_amount - in_wallet, 0);
            END IF;
        END IF;
    END IF;
    moon_bag := coalesce(p_moon_bag_amount, held.moon_bag_amount);
    IF moon_bag > left_over AND moon_bag <= left_over + greatest(0.000001, dust) THEN
        moon_bag := left_over;
    END IF;
    IF held.take_profit_levels_hit <> p_expected_levels_hit THEN
        trade.outcome := 'stale_position';
        trade.details := jsonb_build_object(
            'counter', 'take_profit_levels_hit',
            'expected', p_expected_levels_hit,
            'actual', held.take_profit_levels_hit
        );
    ELSIF left_over < 0 THEN
        trade.outcome := 'oversell';
        trade.details := jsonb_build_object('remaining', held.remaining_amount, 'requested', p_token_amount);
    ELSIF NOT p_is_take_profit AND left_over > 0 THEN
        trade.outcome := 'not_a_full_sale';
        trade.details := jsonb_build_object('remaining', held.remaining_amount, 'requested', p_token_amount);
    ELSIF p_is_take_profit AND moon_bag > left_over THEN
        trade.outcome := 'moon_bag_too_large';
        trade.details := jsonb_build_object('remaining', left_over, 'requested', moon_bag);
    ELSIF p_transaction_time < purchase.transaction_time THEN
        trade.outcome := 'sale_before_purchase';
        trade.details := jsonb_build_object('purchase_time', purchase.transaction_time, 'sale_time', p_transaction_time);
    END IF;
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    sold_at := coalesce(p_transaction_time, greatest(now(), purchase.transaction_time));
    signals := lock_signals_v1(ARRAY[p_signal_id, purchase.signal_id]);
    purchase.signal_id := CASE WHEN purchase.signal_id = ANY(signals) THEN purchase.signal_id END;
    trade := change_balances_v1(
        p_agent_id, p_wallet_address, 'SWAP', p_token_address, p_token_symbol, p_token_amount,
        sol_mint(), 'SOL', p_sol_amount, p_protocol_fee_sol, p_network_fee_sol, settled_dust
    );
    IF trade.outcome <> 'made' THEN
        RETURN trade;
    END IF;

    INSERT INTO agent_transactions AS t (
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
        is_take_profit,
        transaction_hash,
        transaction_leg,
        swap_payload,
        protocol_fee_sol,
        network_fee_sol,
        realized_profit_sol,
        updated_at,
        settled_dust
    )
    VALUES (
        trade_id,
        p_agent_id,
        p_wallet_address,
        'SWAP',
        p_transaction_value_usd,
        sold_at,
        CASE
            WHEN p_signal_id IS NULL THEN purchase.signal_id
            WHEN p_signal_id = ANY(signals) THEN p_signal_id
        END,
        p_routes,
        p_token_address,
        p_token_symbol,
        p_token_amount,
        ratio(p_sol_amount, p_token_amount, 18),
        sol_mint(),
        'SOL',
        p_sol_amount,
        1,
        p_slippage,
        p_price_impact,
        p_is_take_profit,
        p_transaction_hash,
        coalesce(p_transaction_leg, 0),
        p_swap_payload,
        p_protocol_fee_sol,
        p_network_fee_sol,
        CASE
            WHEN left_over = 0
                THEN held.proceeds_sol + received_sol - held.total_invested_sol - held.realized_profit_sol
            ELSE received_sol - ratio(p_token_amount * held.total_invested_sol, held.purchase_amount, 18)
        END,
        now(),
        settled_dust
    )
    RETURNING t.* INTO entry;
    trade.transaction := entry;

    IF left_over > 0 THEN
        UPDATE agent_positions AS p
        SET
            remaining_amount = left_over,
            proceeds_sol = p.proceeds_sol + received_sol,
            realized_profit_sol = p.realized_profit_sol + entry.realized_profit_sol,
            take_profit_levels_hit = p.take_profit_levels_hit + p_levels_hit,
            take_profit_transaction_ids = array_append(p.take_profit_transaction_ids, trade_id),
            last_take_profit_time = sold_at,
            moon_bag_activated = p.moon_bag_activated OR p_moon_bag_amount IS NOT NULL,
            moon_bag_amount = moon_bag,
            updated_at = now(),
            version = trade.version
        WHERE p.id = held.id
        RETURNING p.* INTO held;
        trade.open_position := held;
    ELSE
        trade.closed_position_id := held.id;
        trade.swap := close_position_v1(held, purchase, entry, sold_at, p_close_reason);
    END IF;
    PERFORM finish_trade_v1(
        trade_id, entry.id, CASE WHEN p_is_take_profit THEN 'take_profit' ELSE 'sell' END, p_content_digest,
        p_agent_id, p_wallet_address, trade.version, trade.balance_ids, trade.balances, trade.token_addresses,
        ARRAY[held.id], ARRAY[p_token_address], left_over = 0, trade.open_position
    );
    RETURN trade;
END
$function$;

CREATE OR REPLACE FUNCTION trade_write_off_v1(p_request_id uuid, p_content_digest bytea, p_agent_id uuid, p_wallet_address text, p_transaction_time timestamp with time zone, p_expires_at timestamp with time zone, p_transaction_value_usd numeric, p_signal_id bigint, p_transaction_hash text, p_transaction_leg bigint, p_protocol_fee_sol numeric, p_network_fee_sol numeric, p_token_address text, p_token_symbol text)
 RETURNS trade_result_v1
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    trade_id uuid := trade_id_of(p_agent_id, p_request_id);
    trade trade_result_v1;
    entry agent_transactions;
    held agent_positions;
    purchase agent_transactions;
    in_wallet numeric;
    signals bigint[];
    burned_at timestamptz;
BEGIN
    trade := begin_trade_v1(
        trade_id, p_content_digest, p_agent_id, p_wallet_address, p_transaction_hash, p_transaction_leg, p_expires_at
    );
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    SELECT p.* INTO held
    FROM agent_positions AS p
    WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address AND p.token_address = p_token_address
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        trade.outcome := 'position_not_found';
        RETURN trade;
    END IF;
    SELECT t.* INTO purchase FROM agent_transactions AS t WHERE t.id = held.purchase_transaction_id;
    -- The wallet's lock keeps the balance as it is.
    SELECT b.balance INTO in_wallet
    FROM agent_balances AS b
    WHERE b.wallet_address = p_wallet_address AND b.token_address = p_token_address;
    IF p_transaction_time < purchase.transaction_time THEN
        trade.outcome := 'sale_before_purchase';
        trade.details := jsonb_build_object('purchase_time', purchase.transaction_time, 'sale_time', p_transaction_time);
    ELSIF coalesce(in_wallet, 0) = 0 THEN
        trade.outcome := 'insufficient_balance';
        trade.details := jsonb_build_object(
            'token_address', p_token_address, 'balance', 0, 'required', held.remaining_amount
        );
    END IF;
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    burned_at := coalesce(p_transaction_time, greatest(now(), purchase.transaction_time));
    signals := lock_signals_v1(ARRAY[p_signal_id, purchase.signal_id]);
    purchase.signal_id := CASE WHEN purchase.signal_id = ANY(signals) THEN purchase.signal_id END;
    trade := change_balances_v1(
        p_agent_id, p_wallet_address, 'BURN', p_token_address, p_token_symbol, in_wallet,
        NULL, NULL, NULL, p_protocol_fee_sol, p_network_fee_sol
    );
    IF trade.outcome <> 'made' THEN
        RETURN trade;
    END IF;

    INSERT INTO agent_transactions AS t (
        id,
        agent_id,
        wallet_address,
        transaction_type,
        transaction_value_usd,
        transaction_time,
        signal_id,
        input_mint,
        input_symbol,
        input_amount,
        transaction_hash,
        transaction_leg,
        protocol_fee_sol,
        network_fee_sol,
        realized_profit_sol,
        updated_at
    )
    VALUES (
        trade_id,
        p_agent_id,
        p_wallet_address,
        'BURN',
        p_transaction_value_usd,
        burned_at,
        CASE
            WHEN p_signal_id IS NULL THEN purchase.signal_id
            WHEN p_signal_id = ANY(signals) THEN p_signal_id
        END,
        p_token_address,
        p_token_symbol,
        in_wallet,
        p_transaction_hash,
        coalesce(p_transaction_leg, 0),
        p_protocol_fee_sol,
        p_network_fee_sol,
        held.proceeds_sol - coalesce(p_protocol_fee_sol, 0) - coalesce(p_network_fee_sol, 0)
            - held.total_invested_sol - held.realized_profit_sol,
        now()
    )
    RETURNING t.* INTO entry;
    trade.transaction := entry;

    trade.closed_position_id := held.id;
    trade.swap := close_position_v1(held, purchase, entry, burned_at, 'write_off');
    PERFORM finish_trade_v1(
        trade_id, entry.id, 'write_off', p_content_digest, p_agent_id, p_wallet_address,
        trade.version, trade.balance_ids, trade.balances, trade.token_addresses,
        ARRAY[held.id], ARRAY[p_token_address], true
    );
    RETURN trade;
END
$function$;

COMMENT ON SEQUENCE row_version_seq IS 'Versions of cached rows. Must stay at CACHE 1: that a later version is a larger number is relied upon.';

COMMENT ON TYPE trade_result_v1 IS 'What a trade returns. outcome: made, duplicate, or the reason not to trade, with its details. Then the rows as the trade left them; of each changed balance the id, token and amount, in the order of the tokens.';
