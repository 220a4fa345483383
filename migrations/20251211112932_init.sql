-- The first schema of the trading engine: users, their agents, the agents' wallets, and what these hold and do.
--
-- Why: a history migration; it recreates what the public system began with, so that a database which that system made
--   can be adopted in place. Types and names are therefore facts, not choices: later migrations improve on them.
-- Locks: none that anybody can wait for; every object is new.
-- Rollback loses: everything. It drops all tables with their rows.
--
-- Ids and updated_at have no default: the writer supplies them.

CREATE TYPE "TransactionType" AS ENUM ('DEPOSIT', 'WITHDRAWAL', 'SWAP', 'BURN');

-- One row: a person who logs in.
CREATE TABLE users (
    id uuid NOT NULL,
    email varchar(255) NOT NULL,
    password_hash varchar(255),
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    failed_login_attempts integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    CONSTRAINT users_pkey PRIMARY KEY (id)
);

-- One row: a trading agent of one user, with its configuration (null = all defaults).
CREATE TABLE agents (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name varchar(255) NOT NULL,
    trading_mode varchar(20) NOT NULL DEFAULT 'simulation',
    trading_config jsonb,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL,
    CONSTRAINT agents_pkey PRIMARY KEY (id),
    CONSTRAINT agents_user_id_fkey FOREIGN KEY (user_id)
    REFERENCES users (id) ON DELETE CASCADE ON UPDATE CASCADE
);

-- One row: an address that an agent trades from; one per agent and wallet type (simulation or live).
CREATE TABLE agent_wallets (
    wallet_address varchar(44) NOT NULL,
    agent_id uuid NOT NULL,
    wallet_type varchar(20) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL,
    CONSTRAINT agent_wallets_pkey PRIMARY KEY (wallet_address),
    CONSTRAINT agent_wallets_agent_id_fkey FOREIGN KEY (agent_id)
    REFERENCES agents (id) ON DELETE CASCADE ON UPDATE CASCADE
);

-- One row: what a wallet holds of one token.
CREATE TABLE agent_balances (
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    wallet_address varchar(44) NOT NULL,
    token_address varchar(255) NOT NULL,
    token_symbol varchar(20) NOT NULL,
    balance text NOT NULL,
    last_updated timestamptz NOT NULL,
    CONSTRAINT agent_balances_pkey PRIMARY KEY (id),
    CONSTRAINT agent_balances_agent_id_fkey FOREIGN KEY (agent_id)
    REFERENCES agents (id) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT agent_balances_wallet_address_fkey FOREIGN KEY (wallet_address)
    REFERENCES agent_wallets (wallet_address) ON DELETE CASCADE ON UPDATE CASCADE
);

-- One row: a recommendation to trade a token.
CREATE TABLE trading_signals (
    id serial NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL,
    token_address varchar(255) NOT NULL,
    symbol varchar(50),
    price_sol numeric(20, 8),
    signal_type varchar(50) NOT NULL,
    activation_reason text,
    signal_strength integer NOT NULL,
    source varchar(100),
    CONSTRAINT trading_signals_pkey PRIMARY KEY (id)
);

-- One row: something that moved tokens into, out of or within a wallet.
CREATE TABLE agent_transactions (
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    wallet_address varchar(44),
    transaction_type "TransactionType" NOT NULL,
    transaction_value_usd numeric(20, 8) NOT NULL,
    transaction_time timestamptz NOT NULL,
    destination_address varchar(255),
    signal_id integer,
    fees numeric(20, 8),
    routes jsonb,
    input_mint varchar(255),
    input_symbol varchar(20),
    input_amount numeric(20, 8),
    input_price numeric(20, 8),
    output_mint varchar(255),
    output_symbol varchar(20),
    output_amount numeric(20, 8),
    output_price numeric(20, 8),
    slippage numeric(10, 4),
    price_impact numeric(10, 4),
    is_dca boolean NOT NULL DEFAULT FALSE,
    transaction_hash varchar(255),
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL,
    CONSTRAINT agent_transactions_pkey PRIMARY KEY (id),
    CONSTRAINT agent_transactions_agent_id_fkey FOREIGN KEY (agent_id)
    REFERENCES agents (id) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT agent_transactions_wallet_address_fkey FOREIGN KEY (wallet_address)
    REFERENCES agent_wallets (wallet_address) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT agent_transactions_signal_id_fkey FOREIGN KEY (signal_id)
    REFERENCES trading_signals (id) ON DELETE SET NULL ON UPDATE CASCADE
);

-- One row: what one agent did about one signal.
CREATE TABLE signal_executions (
    id uuid NOT NULL,
    signal_id integer NOT NULL,
    agent_id uuid NOT NULL,
    status varchar(20) NOT NULL,
    transaction_id uuid,
    error text,
    executed_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT signal_executions_pkey PRIMARY KEY (id),
    CONSTRAINT signal_executions_signal_id_fkey FOREIGN KEY (signal_id)
    REFERENCES trading_signals (id) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT signal_executions_agent_id_fkey FOREIGN KEY (agent_id)
    REFERENCES agents (id) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT signal_executions_transaction_id_fkey FOREIGN KEY (transaction_id)
    REFERENCES agent_transactions (id) ON DELETE SET NULL ON UPDATE CASCADE
);

-- One row: a closed trade, from purchase to sale, with its profit or loss.
CREATE TABLE agent_historical_swaps (
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    wallet_address varchar(44),
    token_address varchar(255) NOT NULL,
    token_symbol varchar(20) NOT NULL,
    amount numeric(20, 8) NOT NULL,
    purchase_price numeric(20, 8) NOT NULL,
    sale_price numeric(20, 8) NOT NULL,
    change_percent numeric(10, 4) NOT NULL,
    profit_loss_usd numeric(20, 8) NOT NULL,
    profit_loss_sol numeric(20, 8) NOT NULL,
    purchase_time timestamptz NOT NULL,
    sale_time timestamptz NOT NULL,
    purchase_transaction_id uuid,
    sale_transaction_id uuid,
    signal_id integer,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT agent_historical_swaps_pkey PRIMARY KEY (id),
    CONSTRAINT agent_historical_swaps_agent_id_fkey FOREIGN KEY (agent_id)
    REFERENCES agents (id) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT agent_historical_swaps_wallet_address_fkey FOREIGN KEY (wallet_address)
    REFERENCES agent_wallets (wallet_address) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT agent_historical_swaps_purchase_transaction_id_fkey FOREIGN KEY (purchase_transaction_id)
    REFERENCES agent_transactions (id) ON DELETE SET NULL ON UPDATE CASCADE,
    CONSTRAINT agent_historical_swaps_sale_transaction_id_fkey FOREIGN KEY (sale_transaction_id)
    REFERENCES agent_transactions (id) ON DELETE SET NULL ON UPDATE CASCADE,
    CONSTRAINT agent_historical_swaps_signal_id_fkey FOREIGN KEY (signal_id)
    REFERENCES trading_signals (id) ON DELETE SET NULL ON UPDATE CASCADE
);

-- One row: an open position; it is deleted when it closes.
CREATE TABLE agent_positions (
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    wallet_address varchar(44) NOT NULL,
    token_address varchar(255) NOT NULL,
    token_symbol varchar(20) NOT NULL,
    purchase_transaction_id uuid NOT NULL,
    purchase_price numeric(20, 8) NOT NULL,
    purchase_amount numeric(20, 8) NOT NULL,
    current_stop_loss_percentage numeric(5, 2),
    peak_price numeric(20, 8),
    last_stop_loss_update timestamptz,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL,
    CONSTRAINT agent_positions_pkey PRIMARY KEY (id),
    CONSTRAINT agent_positions_agent_id_fkey FOREIGN KEY (agent_id)
    REFERENCES agents (id) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT agent_positions_wallet_address_fkey FOREIGN KEY (wallet_address)
    REFERENCES agent_wallets (wallet_address) ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT agent_positions_purchase_transaction_id_fkey FOREIGN KEY (purchase_transaction_id)
    REFERENCES agent_transactions (id) ON DELETE CASCADE ON UPDATE CASCADE
);

-- Log-in: a user by e-mail.
CREATE UNIQUE INDEX users_email_key ON users (email);

-- A user's agents.
CREATE INDEX agents_user_id_idx ON agents (user_id);

-- One wallet per agent and type.
CREATE UNIQUE INDEX agent_wallets_agent_id_wallet_type_key ON agent_wallets (agent_id, wallet_type);
-- An agent's wallets.
CREATE INDEX agent_wallets_agent_id_idx ON agent_wallets (agent_id);

-- One balance per wallet and token; the target of every upsert.
CREATE UNIQUE INDEX agent_balances_wallet_address_token_address_key ON agent_balances (wallet_address, token_address);
-- All holdings of an agent.
CREATE INDEX agent_balances_agent_id_idx ON agent_balances (agent_id);
-- All holdings of a wallet.
CREATE INDEX agent_balances_wallet_address_idx ON agent_balances (wallet_address);
-- The holdings of an agent's wallet.
CREATE INDEX agent_balances_agent_id_wallet_address_idx ON agent_balances (agent_id, wallet_address);
-- Who holds a token.
CREATE INDEX agent_balances_token_address_idx ON agent_balances (token_address);

-- Signals for a token.
CREATE INDEX trading_signals_token_address_idx ON trading_signals (token_address);
-- Signals of a type.
CREATE INDEX trading_signals_signal_type_idx ON trading_signals (signal_type);
-- The newest signals.
CREATE INDEX trading_signals_created_at_idx ON trading_signals (created_at);

-- An agent acts once on a signal.
CREATE UNIQUE INDEX signal_executions_signal_id_agent_id_key ON signal_executions (signal_id, agent_id);
-- Who acted on a signal.
CREATE INDEX signal_executions_signal_id_idx ON signal_executions (signal_id);
-- The signals an agent acted on.
CREATE INDEX signal_executions_agent_id_idx ON signal_executions (agent_id);

-- An agent's transactions.
CREATE INDEX agent_transactions_agent_id_idx ON agent_transactions (agent_id);
-- A wallet's transactions.
CREATE INDEX agent_transactions_wallet_address_idx ON agent_transactions (wallet_address);
-- The transactions of an agent's wallet.
CREATE INDEX agent_transactions_agent_id_wallet_address_idx ON agent_transactions (agent_id, wallet_address);
-- Transactions of a type, for reports over all agents.
CREATE INDEX agent_transactions_transaction_type_idx ON agent_transactions (transaction_type);
-- Transactions of a period, for reports over all agents.
CREATE INDEX agent_transactions_transaction_time_idx ON agent_transactions (transaction_time);
-- What a signal led to.
CREATE INDEX agent_transactions_signal_id_idx ON agent_transactions (signal_id);
-- An agent's transactions, newest first or of a period.
CREATE INDEX agent_transactions_agent_id_transaction_time_idx ON agent_transactions (agent_id, transaction_time);
-- An agent's transactions of a type.
CREATE INDEX agent_transactions_agent_id_transaction_type_idx ON agent_transactions (agent_id, transaction_type);

-- An agent's closed trades.
CREATE INDEX agent_historical_swaps_agent_id_idx ON agent_historical_swaps (agent_id);
-- A wallet's closed trades.
CREATE INDEX agent_historical_swaps_wallet_address_idx ON agent_historical_swaps (wallet_address);
-- The closed trades of an agent's wallet.
CREATE INDEX agent_historical_swaps_agent_id_wallet_address_idx ON agent_historical_swaps (agent_id, wallet_address);
-- Closed trades in a token.
CREATE INDEX agent_historical_swaps_token_address_idx ON agent_historical_swaps (token_address);
-- Closed trades that a signal led to.
CREATE INDEX agent_historical_swaps_signal_id_idx ON agent_historical_swaps (signal_id);
-- The trade that a purchase ended in; also the key's ON DELETE.
CREATE INDEX agent_historical_swaps_purchase_transaction_id_idx ON agent_historical_swaps (purchase_transaction_id);
-- The trade that a sale ended; also the key's ON DELETE.
CREATE INDEX agent_historical_swaps_sale_transaction_id_idx ON agent_historical_swaps (sale_transaction_id);
-- Trades opened in a period.
CREATE INDEX agent_historical_swaps_purchase_time_idx ON agent_historical_swaps (purchase_time);
-- Trades closed in a period.
CREATE INDEX agent_historical_swaps_sale_time_idx ON agent_historical_swaps (sale_time);
-- An agent's trades in a token.
CREATE INDEX agent_historical_swaps_agent_id_token_address_idx ON agent_historical_swaps (agent_id, token_address);
-- An agent's trades opened in a period.
CREATE INDEX agent_historical_swaps_agent_id_purchase_time_idx ON agent_historical_swaps (agent_id, purchase_time);
-- An agent's trades closed in a period: performance.
CREATE INDEX agent_historical_swaps_agent_id_sale_time_idx ON agent_historical_swaps (agent_id, sale_time);
-- An agent's trades in the order they were recorded.
CREATE INDEX agent_historical_swaps_agent_id_created_at_idx ON agent_historical_swaps (agent_id, created_at);
-- An agent's trades that a signal led to.
CREATE INDEX agent_historical_swaps_agent_id_signal_id_idx ON agent_historical_swaps (agent_id, signal_id);

-- One open position per wallet and token.
CREATE UNIQUE INDEX agent_positions_agent_id_wallet_address_token_address_key
ON agent_positions (agent_id, wallet_address, token_address);
-- A purchase opens one position.
CREATE UNIQUE INDEX agent_positions_purchase_transaction_id_key ON agent_positions (purchase_transaction_id);
-- The open positions of an agent's wallet.
CREATE INDEX agent_positions_agent_id_wallet_address_idx ON agent_positions (agent_id, wallet_address);
-- Who has a position in a token: every price tick asks.
CREATE INDEX agent_positions_token_address_idx ON agent_positions (token_address);
-- An agent's open positions.
CREATE INDEX agent_positions_agent_id_idx ON agent_positions (agent_id);
-- The position that a purchase opened.
CREATE INDEX agent_positions_purchase_transaction_id_idx ON agent_positions (purchase_transaction_id);
