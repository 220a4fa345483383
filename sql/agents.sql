-- Agents: one row per agent of a user. Models: Agent, AgentWallet.
-- Lock order: an agent's row before the rows of its wallets.

-- name: list_with_wallets_by_id :many
-- The agent, once per wallet, simulation first; once with NULLs when it has no wallet. No row comes back when there is
-- no such agent.
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
    w.updated_at
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
    updated_at
FROM agent_wallets
WHERE agent_id = :agent_id AND wallet_type = :wallet_type;

-- name: find_wallet_by_address :optional
-- The wallet of this address, of any agent.
SELECT
    wallet_address,
    agent_id,
    wallet_type,
    created_at,
    updated_at
FROM agent_wallets
WHERE wallet_address = :wallet_address;

-- name: find_default_wallet :optional
-- The wallet whose type is the agent's trading mode.
SELECT
    w.wallet_address,
    w.agent_id,
    w.wallet_type,
    w.created_at,
    w.updated_at
FROM agents AS a
INNER JOIN agent_wallets AS w ON w.agent_id = a.id AND w.wallet_type = a.trading_mode
WHERE a.id = :agent_id;

-- name: create :one
-- Creates an agent. Violates agents_user_id_fkey when there is no such user.
INSERT INTO agents (id, user_id, name, trading_mode)
VALUES (coalesce(:agent_id, new_id()), :user_id, :name, :trading_mode)
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
-- Updates the columns whose parameters are given. No row comes back when there is no such agent.
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
-- Turns automated trading in one mode on or off; the other mode stays as it is. No row comes back when there is no such
-- agent.
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
-- The stored configuration as text, so that its numbers stay exact; '{}' when none is stored.
SELECT coalesce(trading_config, '{}')::text AS trading_config
FROM agents
WHERE id = :agent_id;

-- name: lock_config :optional
-- The stored configuration as find_config returns it. Locks the agent's row against updates until the end of the
-- transaction; trades do not wait.
SELECT coalesce(trading_config, '{}')::text AS trading_config
FROM agents
WHERE id = :agent_id
FOR NO KEY UPDATE;

-- name: store_config :rows
-- Replaces the stored configuration. The caller has validated the document.
UPDATE agents
SET
    trading_config = :document::text::jsonb,
    updated_at = now()
WHERE id = :agent_id;

-- name: delete :rows
-- Deletes the agent with its wallets, positions, balances and transactions.
DELETE FROM agents
WHERE id = :agent_id;
