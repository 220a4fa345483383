-- What all migrations together make, table by table. Written by `make schema`, never by hand.
-- Nothing reads this file but people: the migrations make the schema, and `make check` compares.

CREATE TYPE "TransactionType" AS ENUM ('DEPOSIT', 'WITHDRAWAL', 'SWAP', 'BURN');

CREATE SEQUENCE row_version_seq START 2;

CREATE SEQUENCE trading_signals_id_seq AS integer;

CREATE OR REPLACE FUNCTION agent_balances_to_cache_outbox()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION agent_positions_to_cache_outbox()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION agents_to_cache_outbox()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION ratio(numerator numeric, denominator numeric, decimals integer)
 RETURNS numeric
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ((sign(numerator) * div(((((2)::numeric * abs(numerator)) * power((10)::numeric, (decimals)::numeric)) + denominator), ((2)::numeric * denominator))) * ((1)::numeric / power((10)::numeric, (decimals)::numeric)));
COMMENT ON FUNCTION ratio(numeric,numeric,integer) IS 'numerator / denominator (above zero), correctly rounded to so many decimals, halves away from zero.';

CREATE OR REPLACE FUNCTION set_row_version()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    NEW.version := nextval('row_version_seq');
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION set_row_version() IS 'Gives an inserted or updated row the next version.';

CREATE OR REPLACE FUNCTION sol_mint()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN 'So11111111111111111111111111111111111111112'::text;
COMMENT ON FUNCTION sol_mint() IS 'How SOL is named as a token: the mint of wrapped SOL.';

CREATE OR REPLACE FUNCTION truncated_to_cache_outbox()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO cache_outbox (version, entity, deleted) VALUES (nextval('row_version_seq'), 'everything', true);
    RETURN NULL;
END
$function$;

CREATE TABLE users (
    id                    uuid NOT NULL DEFAULT gen_random_uuid(),
    email                 character varying(255) NOT NULL,
    password_hash         character varying(255),
    created_at            timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    failed_login_attempts integer NOT NULL DEFAULT 0,
    locked_until          timestamp with time zone,
    CONSTRAINT users_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX users_email_key ON users (email);
CREATE UNIQUE INDEX users_lower_email_key ON users (lower(email::text));

CREATE TABLE agents (
    id                           uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id                      uuid NOT NULL,
    name                         character varying(255) NOT NULL,
    trading_mode                 character varying(20) NOT NULL DEFAULT 'simulation'::character varying,
    trading_config               jsonb,
    created_at                   timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at                   timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    automated_trading_simulation boolean NOT NULL DEFAULT true,
    automated_trading_live       boolean NOT NULL DEFAULT true,
    version                      bigint NOT NULL DEFAULT nextval('row_version_seq'::regclass),
    CONSTRAINT agents_pkey PRIMARY KEY (id),
    CONSTRAINT agents_trading_mode_check CHECK (trading_mode::text = ANY (ARRAY['simulation'::text, 'live'::text])),
    CONSTRAINT agents_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX agents_automated_trading_live_idx ON agents (automated_trading_live);
CREATE INDEX agents_automated_trading_simulation_idx ON agents (automated_trading_simulation);
CREATE INDEX agents_user_id_idx ON agents (user_id);
CREATE TRIGGER agents_set_first_row_version BEFORE INSERT ON agents FOR EACH ROW EXECUTE FUNCTION set_row_version();
CREATE TRIGGER agents_set_row_version BEFORE UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION set_row_version();
CREATE TRIGGER agents_to_cache_outbox AFTER INSERT OR DELETE OR UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION agents_to_cache_outbox();
CREATE TRIGGER agents_truncated_to_cache_outbox AFTER TRUNCATE ON agents FOR EACH STATEMENT EXECUTE FUNCTION truncated_to_cache_outbox();

CREATE TABLE agent_wallets (
    wallet_address character varying(44) NOT NULL,
    agent_id       uuid NOT NULL,
    wallet_type    character varying(20) NOT NULL,
    created_at     timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at     timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    trade_count    bigint NOT NULL DEFAULT 0,
    CONSTRAINT agent_wallets_pkey PRIMARY KEY (wallet_address),
    CONSTRAINT agent_wallets_agent_id_wallet_address_key UNIQUE (agent_id, wallet_address),
    CONSTRAINT agent_wallets_wallet_type_check CHECK (wallet_type::text = ANY (ARRAY['simulation'::text, 'live'::text])),
    CONSTRAINT agent_wallets_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents(id) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE UNIQUE INDEX agent_wallets_agent_id_wallet_type_key ON agent_wallets (agent_id, wallet_type);
COMMENT ON COLUMN agent_wallets.trade_count IS 'How many trades this wallet has made. A trade that finds it above its snapshot''s value waited for another one and starts over.';

CREATE TABLE agent_balance_snapshots (
    id                    uuid NOT NULL DEFAULT gen_random_uuid(),
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
    CONSTRAINT agent_balance_snapshots_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_balance_snapshots_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE UNIQUE INDEX abs_agent_wallet_timestamp_key ON agent_balance_snapshots (agent_id, wallet_address, snapshot_timestamp);
CREATE INDEX abs_wallet_address_idx ON agent_balance_snapshots (wallet_address);
CREATE INDEX agent_balance_snapshots_snapshot_timestamp_idx ON agent_balance_snapshots (snapshot_timestamp);

CREATE TABLE agent_balances (
    id             uuid NOT NULL DEFAULT gen_random_uuid(),
    agent_id       uuid NOT NULL,
    wallet_address character varying(44) NOT NULL,
    token_address  character varying(255) NOT NULL,
    token_symbol   character varying(20) NOT NULL,
    balance        numeric(38,18) NOT NULL,
    last_updated   timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    version        bigint NOT NULL DEFAULT nextval('row_version_seq'::regclass),
    CONSTRAINT agent_balances_pkey PRIMARY KEY (id),
    CONSTRAINT agent_balances_balance_check CHECK (balance >= 0::numeric AND balance <> 'NaN'::numeric),
    CONSTRAINT agent_balances_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_balances_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX agent_balances_agent_id_wallet_address_idx ON agent_balances (agent_id, wallet_address);
CREATE INDEX agent_balances_token_address_wallet_address_idx ON agent_balances (token_address, wallet_address);
CREATE UNIQUE INDEX agent_balances_wallet_address_token_address_key ON agent_balances (wallet_address, token_address);
CREATE TRIGGER agent_balances_set_first_row_version BEFORE INSERT ON agent_balances FOR EACH ROW EXECUTE FUNCTION set_row_version();
CREATE TRIGGER agent_balances_set_row_version BEFORE UPDATE ON agent_balances FOR EACH ROW EXECUTE FUNCTION set_row_version();
CREATE TRIGGER agent_balances_to_cache_outbox AFTER INSERT OR DELETE OR UPDATE ON agent_balances FOR EACH ROW EXECUTE FUNCTION agent_balances_to_cache_outbox();
CREATE TRIGGER agent_balances_truncated_to_cache_outbox AFTER TRUNCATE ON agent_balances FOR EACH STATEMENT EXECUTE FUNCTION truncated_to_cache_outbox();

CREATE TABLE trading_signals (
    id                integer NOT NULL DEFAULT nextval('trading_signals_id_seq'::regclass),
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
    CONSTRAINT trading_signals_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON UPDATE CASCADE ON DELETE SET NULL
);
ALTER SEQUENCE trading_signals_id_seq OWNED BY trading_signals.id;
CREATE INDEX trading_signals_created_at_idx ON trading_signals (created_at);
CREATE INDEX trading_signals_signal_type_idx ON trading_signals (signal_type);
CREATE INDEX trading_signals_token_address_idx ON trading_signals (token_address);
CREATE INDEX trading_signals_user_id_created_at_id_idx ON trading_signals (user_id, created_at, id);

CREATE TABLE agent_transactions (
    id                    uuid NOT NULL DEFAULT gen_random_uuid(),
    agent_id              uuid NOT NULL,
    wallet_address        character varying(44),
    transaction_type      "TransactionType" NOT NULL,
    transaction_value_usd numeric(20,8) NOT NULL,
    transaction_time      timestamp with time zone NOT NULL,
    destination_address   character varying(255),
    signal_id             integer,
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
    CONSTRAINT agent_transactions_pkey PRIMARY KEY (id),
    CONSTRAINT agent_transactions_wallet_address_transaction_hash_key UNIQUE (wallet_address, transaction_hash, transaction_leg),
    CONSTRAINT agent_transactions_fees_check CHECK (fees >= 0::numeric AND fees <> 'NaN'::numeric AND protocol_fee_sol >= 0::numeric AND protocol_fee_sol <> 'NaN'::numeric AND network_fee_sol >= 0::numeric AND network_fee_sol <> 'NaN'::numeric),
    CONSTRAINT agent_transactions_input_amount_check CHECK (input_amount > 0::numeric AND input_amount <> 'NaN'::numeric),
    CONSTRAINT agent_transactions_output_amount_check CHECK (output_amount > 0::numeric AND output_amount <> 'NaN'::numeric),
    CONSTRAINT agent_transactions_prices_check CHECK (input_price >= 0::numeric AND input_price <> 'NaN'::numeric AND output_price >= 0::numeric AND output_price <> 'NaN'::numeric),
    CONSTRAINT agent_transactions_transaction_leg_check CHECK (transaction_leg >= 0),
    CONSTRAINT agent_transactions_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_transactions_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_transactions_signal_id_fkey FOREIGN KEY (signal_id) REFERENCES trading_signals(id) ON UPDATE CASCADE ON DELETE SET NULL
);
CREATE INDEX agent_transactions_agent_id_transaction_time_idx ON agent_transactions (agent_id, transaction_time);
CREATE INDEX agent_transactions_agent_id_transaction_type_idx ON agent_transactions (agent_id, transaction_type);
CREATE INDEX agent_transactions_agent_id_wallet_address_idx ON agent_transactions (agent_id, wallet_address);
CREATE INDEX agent_transactions_signal_id_idx ON agent_transactions (signal_id);
CREATE INDEX agent_transactions_transaction_time_idx ON agent_transactions (transaction_time);
CREATE INDEX agent_transactions_transaction_type_idx ON agent_transactions (transaction_type);
COMMENT ON COLUMN agent_transactions.realized_profit_sol IS 'What this sale added to the profit of its position, net of fees; NULL for other transactions, and for sales before this column.';
COMMENT ON COLUMN agent_transactions.transaction_leg IS 'Which movement of the on-chain transaction this is, from 0.';

CREATE TABLE agent_historical_swaps (
    id                      uuid NOT NULL DEFAULT gen_random_uuid(),
    agent_id                uuid NOT NULL,
    wallet_address          character varying(44),
    token_address           character varying(255) NOT NULL,
    token_symbol            character varying(20) NOT NULL,
    amount                  numeric(38,18) NOT NULL,
    purchase_price          numeric(38,18) NOT NULL,
    sale_price              numeric(38,18) NOT NULL,
    change_percent          numeric(20,4) NOT NULL,
    profit_loss_usd         numeric(20,8) NOT NULL,
    profit_loss_sol         numeric(38,18) NOT NULL,
    purchase_time           timestamp with time zone NOT NULL,
    sale_time               timestamp with time zone NOT NULL,
    purchase_transaction_id uuid,
    sale_transaction_id     uuid,
    signal_id               integer,
    created_at              timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    close_reason            character varying(20),
    CONSTRAINT agent_historical_swaps_pkey PRIMARY KEY (id),
    CONSTRAINT agent_historical_swaps_amount_check CHECK (amount > 0::numeric AND amount <> 'NaN'::numeric),
    CONSTRAINT agent_historical_swaps_close_reason_check CHECK (close_reason::text = ANY (ARRAY['manual'::text, 'stop_loss'::text, 'stale_trade'::text, 'take_profit'::text])),
    CONSTRAINT agent_historical_swaps_sale_time_check CHECK (sale_time >= purchase_time),
    CONSTRAINT agent_historical_swaps_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_historical_swaps_purchase_transaction_id_fkey FOREIGN KEY (purchase_transaction_id) REFERENCES agent_transactions(id) ON UPDATE CASCADE ON DELETE SET NULL,
    CONSTRAINT agent_historical_swaps_sale_transaction_id_fkey FOREIGN KEY (sale_transaction_id) REFERENCES agent_transactions(id) ON UPDATE CASCADE ON DELETE SET NULL,
    CONSTRAINT agent_historical_swaps_signal_id_fkey FOREIGN KEY (signal_id) REFERENCES trading_signals(id) ON UPDATE CASCADE ON DELETE SET NULL
);
CREATE INDEX agent_historical_swaps_agent_id_created_at_idx ON agent_historical_swaps (agent_id, created_at);
CREATE INDEX agent_historical_swaps_agent_id_purchase_time_idx ON agent_historical_swaps (agent_id, purchase_time);
CREATE INDEX agent_historical_swaps_agent_id_sale_time_idx ON agent_historical_swaps (agent_id, sale_time);
CREATE INDEX agent_historical_swaps_agent_id_signal_id_idx ON agent_historical_swaps (agent_id, signal_id);
CREATE INDEX agent_historical_swaps_agent_id_token_address_idx ON agent_historical_swaps (agent_id, token_address);
CREATE INDEX agent_historical_swaps_agent_id_wallet_address_idx ON agent_historical_swaps (agent_id, wallet_address);
CREATE INDEX agent_historical_swaps_purchase_time_idx ON agent_historical_swaps (purchase_time);
CREATE INDEX agent_historical_swaps_purchase_transaction_id_idx ON agent_historical_swaps (purchase_transaction_id);
CREATE INDEX agent_historical_swaps_sale_time_idx ON agent_historical_swaps (sale_time);
CREATE INDEX agent_historical_swaps_sale_transaction_id_idx ON agent_historical_swaps (sale_transaction_id);
CREATE INDEX agent_historical_swaps_signal_id_idx ON agent_historical_swaps (signal_id);
CREATE INDEX agent_historical_swaps_token_address_idx ON agent_historical_swaps (token_address);
CREATE INDEX agent_historical_swaps_wallet_address_idx ON agent_historical_swaps (wallet_address);

CREATE TABLE agent_positions (
    id                           uuid NOT NULL DEFAULT gen_random_uuid(),
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
    dca_transaction_ids          text[] DEFAULT ARRAY[]::text[],
    last_dca_time                timestamp with time zone,
    lowest_price                 numeric(38,18),
    total_invested_sol           numeric(38,18) NOT NULL DEFAULT 0,
    remaining_amount             numeric(38,18),
    take_profit_levels_hit       integer NOT NULL DEFAULT 0,
    take_profit_transaction_ids  text[] NOT NULL DEFAULT '{}'::text[],
    last_take_profit_time        timestamp with time zone,
    moon_bag_activated           boolean NOT NULL DEFAULT false,
    moon_bag_amount              numeric(38,18),
    realized_profit_sol          numeric(38,18) NOT NULL DEFAULT 0,
    tp_batch_start_level         integer NOT NULL DEFAULT 0,
    total_take_profit_levels     integer,
    version                      bigint NOT NULL DEFAULT nextval('row_version_seq'::regclass),
    proceeds_sol                 numeric(38,18) NOT NULL DEFAULT 0,
    CONSTRAINT agent_positions_pkey PRIMARY KEY (id),
    CONSTRAINT agent_positions_counters_check CHECK (dca_count >= 0 AND take_profit_levels_hit >= 0 AND tp_batch_start_level >= 0 AND total_take_profit_levels >= 0),
    CONSTRAINT agent_positions_moon_bag_amount_check CHECK (moon_bag_amount >= 0::numeric AND moon_bag_amount <= COALESCE(remaining_amount, purchase_amount)),
    CONSTRAINT agent_positions_proceeds_sol_check CHECK (proceeds_sol <> 'NaN'::numeric),
    CONSTRAINT agent_positions_purchase_check CHECK (purchase_price >= 0::numeric AND purchase_price <> 'NaN'::numeric AND purchase_amount > 0::numeric AND purchase_amount <> 'NaN'::numeric AND total_invested_sol >= 0::numeric AND total_invested_sol <> 'NaN'::numeric),
    CONSTRAINT agent_positions_remaining_amount_check CHECK (remaining_amount >= 0::numeric AND remaining_amount <= purchase_amount),
    CONSTRAINT agent_positions_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_positions_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT agent_positions_purchase_transaction_id_fkey FOREIGN KEY (purchase_transaction_id) REFERENCES agent_transactions(id) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE UNIQUE INDEX agent_positions_agent_id_wallet_address_token_address_key ON agent_positions (agent_id, wallet_address, token_address);
CREATE UNIQUE INDEX agent_positions_purchase_transaction_id_key ON agent_positions (purchase_transaction_id);
CREATE INDEX agent_positions_token_address_agent_id_idx ON agent_positions (token_address, agent_id);
CREATE TRIGGER agent_positions_set_first_row_version BEFORE INSERT ON agent_positions FOR EACH ROW EXECUTE FUNCTION set_row_version();
CREATE TRIGGER agent_positions_set_row_version BEFORE UPDATE ON agent_positions FOR EACH ROW EXECUTE FUNCTION set_row_version();
CREATE TRIGGER agent_positions_to_cache_outbox AFTER INSERT OR DELETE OR UPDATE ON agent_positions FOR EACH ROW EXECUTE FUNCTION agent_positions_to_cache_outbox();
CREATE TRIGGER agent_positions_truncated_to_cache_outbox AFTER TRUNCATE ON agent_positions FOR EACH STATEMENT EXECUTE FUNCTION truncated_to_cache_outbox();
COMMENT ON COLUMN agent_positions.proceeds_sol IS 'SOL received for what was sold so far, net of fees.';

CREATE TABLE api_keys (
    id           uuid NOT NULL DEFAULT gen_random_uuid(),
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
    CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE UNIQUE INDEX api_keys_key_hash_key ON api_keys (key_hash);
CREATE INDEX api_keys_user_id_idx ON api_keys (user_id);

CREATE TABLE cache_outbox (
    version        bigint NOT NULL,
    xid            xid8 NOT NULL DEFAULT pg_current_xact_id(),
    entity         character varying(10) NOT NULL,
    deleted        boolean NOT NULL,
    row_id         uuid,
    agent_id       uuid,
    wallet_address character varying(44),
    token_address  character varying(255),
    created_at     timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT cache_outbox_pkey PRIMARY KEY (version),
    CONSTRAINT cache_outbox_entity_check CHECK (entity::text = ANY (ARRAY['agent'::text, 'balance'::text, 'position'::text, 'everything'::text]))
) WITH (autovacuum_analyze_scale_factor=0, autovacuum_analyze_threshold=100000, autovacuum_vacuum_insert_threshold=-1, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000);
COMMENT ON COLUMN cache_outbox.xid IS 'The transaction that made the change: before its COMMIT it reads its own rows here.';
COMMENT ON TABLE cache_outbox IS 'Changes that the cache may not show yet: which row, and the version the change gave it. Never a reason to lose one: delete none by hand.';

CREATE TABLE signal_executions (
    id             uuid NOT NULL DEFAULT gen_random_uuid(),
    signal_id      integer NOT NULL,
    agent_id       uuid NOT NULL,
    status         character varying(20) NOT NULL,
    transaction_id uuid,
    error          text,
    executed_at    timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT signal_executions_pkey PRIMARY KEY (id),
    CONSTRAINT signal_executions_status_check CHECK (status::text = ANY (ARRAY['PENDING'::text, 'EXECUTED'::text, 'FAILED'::text, 'SKIPPED'::text])),
    CONSTRAINT signal_executions_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT signal_executions_signal_id_fkey FOREIGN KEY (signal_id) REFERENCES trading_signals(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT signal_executions_transaction_id_fkey FOREIGN KEY (transaction_id) REFERENCES agent_transactions(id) ON UPDATE CASCADE ON DELETE SET NULL
);
CREATE INDEX signal_executions_agent_id_idx ON signal_executions (agent_id);
CREATE INDEX signal_executions_pending_idx ON signal_executions (executed_at, id) WHERE status::text = 'PENDING'::text;
CREATE UNIQUE INDEX signal_executions_signal_id_agent_id_key ON signal_executions (signal_id, agent_id);
CREATE INDEX signal_executions_transaction_id_idx ON signal_executions (transaction_id);

CREATE TABLE trade_requests (
    id             uuid NOT NULL,
    agent_id       uuid NOT NULL,
    wallet_address character varying(44) NOT NULL,
    operation      character varying(20) NOT NULL,
    content_digest bytea NOT NULL,
    result         jsonb NOT NULL,
    created_at     timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT trade_requests_pkey PRIMARY KEY (id),
    CONSTRAINT trade_requests_operation_check CHECK (operation::text = ANY (ARRAY['deposit'::text, 'withdrawal'::text, 'burn'::text, 'swap'::text, 'buy'::text, 'dca_buy'::text, 'take_profit'::text, 'sell'::text, 'reset_wallet'::text])),
    CONSTRAINT trade_requests_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets(agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX trade_requests_agent_id_wallet_address_idx ON trade_requests (agent_id, wallet_address);
COMMENT ON TABLE trade_requests IS 'One row for each trade made: what was asked for (a SHA-256) and what came of it. Old rows may be deleted.';

CREATE OR REPLACE FUNCTION transaction_effects(transaction_type "TransactionType", input_mint text, input_amount numeric, output_mint text, output_amount numeric, protocol_fee_sol numeric, network_fee_sol numeric)
 RETURNS TABLE(token_address text, change numeric)
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
 SELECT effect.token_address,
     sum(effect.change) AS change
    FROM ( VALUES (transaction_effects.input_mint,
                 CASE
                     WHEN (transaction_effects.transaction_type = 'DEPOSIT'::"TransactionType") THEN transaction_effects.input_amount
                     ELSE (- transaction_effects.input_amount)
                 END), (transaction_effects.output_mint,
                 CASE
                     WHEN (transaction_effects.transaction_type = 'SWAP'::"TransactionType") THEN transaction_effects.output_amount
                     ELSE NULL::numeric
                 END), (sol_mint(),(- transaction_effects.protocol_fee_sol)), (sol_mint(),(- transaction_effects.network_fee_sol))) effect(token_address, change)
   WHERE (effect.change IS NOT NULL)
   GROUP BY effect.token_address;
END;
COMMENT ON FUNCTION transaction_effects("TransactionType",text,numeric,text,numeric,numeric,numeric) IS 'What a transaction does to its wallet, by token: a deposit adds the input, others take it; a swap adds the output;
fees come off SOL.';

COMMENT ON SEQUENCE row_version_seq IS 'Versions of cached rows. Must stay at CACHE 1: that a later version is a larger number is relied upon.';
