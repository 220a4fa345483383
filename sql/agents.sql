-- Agents: one row for each agent of a user. Models: Agent, AgentWallet.
-- Lock order: an agent's row comes before its wallets'.

-- name: list_with_wallets_by_id :many
-- The agent beside each of its wallets, simulation first; beside NULLs when it has none. No row: no such agent.
SELECT
    a.id,
    a.user_id,
    a.name,
    a.trading_mode,
    a.trading_config,
    a.created_at,
    a.updated_at,
    a.automated_trading_simulation,
    a.automated_trading_live,
    a.version,
    w.wallet_address,
    w.agent_id,
    w.wallet_type,
    w.created_at,
    w.updated_at,
    w.trade_count
FROM agents AS a
LEFT JOIN agent_wallets AS w ON w.agent_id = a.id
WHERE a.id = :agent_id
ORDER BY w.wallet_type DESC, w.wallet_address
LIMIT 2; -- one of each type

-- name: find_by_user_id :many
-- The user's agents, newest first.
SELECT
    id,
    user_id,
    name,
    trading_mode,
    trading_config,
    created_at,
    updated_at,
    automated_trading_simulation,
    automated_trading_live,
    version
FROM agents
WHERE user_id = :user_id
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: find_wallet_by_agent_id :optional
-- The agent's wallet of this type.
SELECT
    wallet_address,
    agent_id,
    wallet_type,
    created_at,
    updated_at,
    trade_count
FROM agent_wallets
WHERE agent_id = :agent_id AND wallet_type = :wallet_type;

-- name: find_wallet_by_address :optional
-- The wallet of this address, whosever it is.
SELECT
    wallet_address,
    agent_id,
    wallet_type,
    created_at,
    updated_at,
    trade_count
FROM agent_wallets
WHERE wallet_address = :wallet_address;

-- name: find_default_wallet :optional
-- The wallet of the mode that the agent trades in.
SELECT
    w.wallet_address,
    w.agent_id,
    w.wallet_type,
    w.created_at,
    w.updated_at,
    w.trade_count
FROM agents AS a
INNER JOIN agent_wallets AS w ON w.agent_id = a.id AND w.wallet_type = a.trading_mode
WHERE a.id = :agent_id;

-- name: create :one
-- A new agent. Refused by agents_user_id_fkey when there is no such user.
INSERT INTO agents (id, user_id, name, trading_mode)
VALUES (coalesce(:agent_id, gen_random_uuid()), :user_id, :name, :trading_mode)
RETURNING
    id,
    user_id,
    name,
    trading_mode,
    trading_config,
    created_at,
    updated_at,
    automated_trading_simulation,
    automated_trading_live,
    version;

-- name: update :optional
-- Changes what is given, leaves the rest. No row comes back when there is no such agent.
UPDATE agents
SET
    updated_at = now()
    , name = :name -- if given
    , trading_mode = :trading_mode -- if given
    , automated_trading_simulation = :automated_trading_simulation -- if given
    , automated_trading_live = :automated_trading_live -- if given
WHERE id = :agent_id
RETURNING
    id,
    user_id,
    name,
    trading_mode,
    trading_config,
    created_at,
    updated_at,
    automated_trading_simulation,
    automated_trading_live,
    version;

-- name: set_automated_trading :optional
-- Lets the agent trade by itself in one mode, or stops it; the other mode stays as it is. No row comes back when there
-- is no such agent.
UPDATE agents
SET
    automated_trading_simulation = CASE WHEN :mode = 'simulation' THEN :enabled ELSE automated_trading_simulation END,
    automated_trading_live = CASE WHEN :mode = 'live' THEN :enabled ELSE automated_trading_live END,
    updated_at = now()
WHERE id = :agent_id
RETURNING
    id,
    user_id,
    name,
    trading_mode,
    trading_config,
    created_at,
    updated_at,
    automated_trading_simulation,
    automated_trading_live,
    version;

-- name: find_config :optional
-- The stored configuration as text, so that its numbers stay exact; an empty document stands for none.
SELECT coalesce(trading_config, '{}')::text AS trading_config
FROM agents
WHERE id = :agent_id;

-- name: lock_config :optional
-- The same, and nobody changes the agent until the end of the transaction. Trades go on.
SELECT coalesce(trading_config, '{}')::text AS trading_config
FROM agents
WHERE id = :agent_id
FOR NO KEY UPDATE;

-- name: store_config :rows
-- Puts the document in the place of the stored one. What it holds was checked before.
UPDATE agents
SET
    trading_config = :document::text::jsonb,
    updated_at = now()
WHERE id = :agent_id;

-- name: delete :rows
-- The agent goes, and with it its wallets, positions, balances and ledger.
DELETE FROM agents
WHERE id = :agent_id;
