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

-- name: list_with_wallets_by_user_id :many
-- The user's agents, newest first, each once per wallet, simulation first; once with NULLs when it has no wallet. :limit
-- counts agents.
-- check: limit: :limit agents, with two wallets each at most
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
FROM (
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
        AND (created_at, id) < (:before_time, :before_id) -- if given
    ORDER BY created_at DESC, id DESC
    LIMIT :limit
) AS a
LEFT JOIN agent_wallets AS w ON w.agent_id = a.id
ORDER BY a.created_at DESC, a.id DESC, w.wallet_type DESC, w.wallet_address;

-- name: list_all_with_wallets :many
-- Agents of all users, by id, each once per wallet, simulation first; once with NULLs when it has no wallet. :limit counts
-- agents.
-- LATERAL: each agent's wallets are looked up by their index, whatever the limit.
-- check: limit: :limit agents, with two wallets each at most
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
FROM (
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
    WHERE true
        AND trading_mode = :trading_mode -- if given
        AND CASE trading_mode WHEN 'live' THEN automated_trading_live ELSE automated_trading_simulation END = :automated_trading -- if given
        AND coalesce((SELECT true FROM agent_wallets AS w WHERE w.agent_id = agents.id LIMIT 1), false) = :has_wallet -- if given
        AND (SELECT true FROM agent_wallets AS w WHERE w.agent_id = agents.id AND w.wallet_type = :wallet_type) -- if given
        AND id > :after_id -- if given
    ORDER BY id
    LIMIT :limit
) AS a
LEFT JOIN LATERAL (
    SELECT
        wallet_address,
        agent_id,
        wallet_type,
        created_at,
        updated_at
    FROM agent_wallets
    WHERE agent_id = a.id
    ORDER BY wallet_type DESC, wallet_address
    LIMIT 2
) AS w ON true
ORDER BY a.id, w.wallet_type DESC, w.wallet_address;

-- name: stream_all_with_wallets :stream
-- All agents of all users, by id, each once per wallet, simulation first; once with NULLs when it has no wallet.
-- check: seq scan agents: all agents are read
-- check: seq scan agent_wallets: the wallets of all agents are read
SELECT
    agents.id,
    agents.user_id,
    agents.name,
    agents.trading_mode,
    agents.trading_config,
    agents.created_at,
    agents.updated_at,
    agents.automated_trading_simulation,
    agents.automated_trading_live,
    agents.version,
    own.wallet_address,
    own.agent_id,
    own.wallet_type,
    own.created_at,
    own.updated_at
FROM agents
LEFT JOIN agent_wallets AS own ON own.agent_id = agents.id
WHERE true
    AND trading_mode = :trading_mode -- if given
    AND CASE trading_mode WHEN 'live' THEN automated_trading_live ELSE automated_trading_simulation END = :automated_trading -- if given
    AND coalesce((SELECT true FROM agent_wallets AS w WHERE w.agent_id = agents.id LIMIT 1), false) = :has_wallet -- if given
    AND (SELECT true FROM agent_wallets AS w WHERE w.agent_id = agents.id AND w.wallet_type = :wallet_type) -- if given
ORDER BY agents.id, own.wallet_type DESC, own.wallet_address;

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
