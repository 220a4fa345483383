-- Wallets: one row for each address an agent trades from, one of each type. Model: AgentWallet.
-- Lock order: after the agent's row, before everything else of the wallet.

-- name: create :one
-- Gives the agent a wallet. Refused by agent_wallets_pkey when the address is taken, and by
-- agent_wallets_agent_id_wallet_type_key when the agent has a wallet of this type.
INSERT INTO agent_wallets (wallet_address, agent_id, wallet_type)
VALUES (:wallet_address, :agent_id, :wallet_type)
RETURNING
    wallet_address,
    agent_id,
    wallet_type,
    created_at,
    updated_at,
    trade_count;

-- name: list_by_agent :many
-- The agent's wallets, simulation first.
SELECT
    wallet_address,
    agent_id,
    wallet_type,
    created_at,
    updated_at,
    trade_count
FROM agent_wallets
WHERE agent_id = :agent_id
ORDER BY wallet_type DESC, wallet_address
LIMIT 2; -- one of each type

-- name: delete :rows
-- The wallet goes, and with it its positions, balances and ledger. Nothing happens to another agent's.
DELETE FROM agent_wallets
WHERE agent_id = :agent_id AND wallet_address = :wallet_address;
