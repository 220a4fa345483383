-- Wallets: one row per address that an agent trades from, at most one of each type. Model: AgentWallet.
-- Lock order: after the agent's row, before the wallet's positions and balances.

-- name: create :one
-- Creates a wallet of the agent. Violates agent_wallets_pkey when the address is taken, and
-- agent_wallets_agent_id_wallet_type_key when the agent has a wallet of this type.
INSERT INTO agent_wallets (wallet_address, agent_id, wallet_type)
VALUES (:wallet_address, :agent_id, :wallet_type)
RETURNING
    wallet_address,
    agent_id,
    wallet_type,
    created_at,
    updated_at;

-- name: list_by_agent :many
-- The agent's wallets, simulation first.
SELECT
    wallet_address,
    agent_id,
    wallet_type,
    created_at,
    updated_at
FROM agent_wallets
WHERE agent_id = :agent_id
ORDER BY wallet_type DESC, wallet_address
LIMIT 2; -- one of each type

-- name: list_all :many
-- The wallets of all agents, by address; those after :after_address when it is given.
SELECT
    wallet_address,
    agent_id,
    wallet_type,
    created_at,
    updated_at
FROM agent_wallets
WHERE true
    AND wallet_type = :wallet_type -- if given
    AND wallet_address > :after_address -- if given
ORDER BY wallet_address
LIMIT :limit;

-- name: find_with_agent :optional
-- The wallet of this address, with its agent.
SELECT
    w.wallet_address,
    w.agent_id,
    w.wallet_type,
    w.created_at,
    w.updated_at,
    a.id,
    a.user_id,
    a.name,
    a.trading_mode,
    a.trading_config,
    a.created_at,
    a.updated_at,
    a.automated_trading_simulation,
    a.automated_trading_live,
    a.version
FROM agent_wallets AS w
INNER JOIN agents AS a ON a.id = w.agent_id
WHERE w.wallet_address = :wallet_address;

-- name: change_address :optional
-- Gives the wallet another address; every row that names the old one follows. No row comes back when the agent has no
-- such wallet. Violates agent_wallets_pkey when the new address is taken. Locks the agent FOR KEY SHARE, then the wallet,
-- its positions and its balances FOR UPDATE.
-- check: one: an address has one wallet
-- check: not null wallet_address: the function returns a row of agent_wallets
-- check: not null agent_id: the function returns a row of agent_wallets
-- check: not null wallet_type: the function returns a row of agent_wallets
-- check: not null created_at: the function returns a row of agent_wallets
-- check: not null updated_at: the function returns a row of agent_wallets
-- check: values wallet_type: the CHECK of agent_wallets
SELECT
    wallet_address,
    agent_id,
    wallet_type,
    created_at,
    updated_at
FROM change_wallet_address_v1(
    p_agent_id => :agent_id,
    p_wallet_address => :wallet_address,
    p_new_address => :new_address
);

-- name: delete :rows
-- Deletes the agent's wallet with its balances; deletes nothing when another agent has it. The database refuses a wallet
-- with a ledger.
DELETE FROM agent_wallets
WHERE agent_id = :agent_id AND wallet_address = :wallet_address;
