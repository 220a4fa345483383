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

-- name: delete :rows
-- Deletes the agent's wallet with its balances; deletes nothing when another agent has it. The database refuses a wallet
-- with a ledger.
DELETE FROM agent_wallets
WHERE agent_id = :agent_id AND wallet_address = :wallet_address;
