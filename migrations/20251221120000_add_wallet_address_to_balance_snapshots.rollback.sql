-- Snapshots per agent instead of per wallet.
--
-- Why: undoes 20251221120000_add_wallet_address_to_balance_snapshots.
-- Locks: ACCESS EXCLUSIVE on agent_balance_snapshots until the end, and on agent_wallets (its key's triggers go).
-- Loses: all snapshots. A wallet's row is not an agent's, and two wallets of one agent would collide.

DELETE FROM agent_balance_snapshots;

-- The two indexes over wallet_address and the foreign key go with the column.
ALTER TABLE agent_balance_snapshots
DROP COLUMN wallet_address;

-- One snapshot per agent and time.
CREATE UNIQUE INDEX agent_balance_snapshots_agent_id_snapshot_timestamp_key
ON agent_balance_snapshots (agent_id, snapshot_timestamp);
-- An agent's chart.
CREATE INDEX agent_balance_snapshots_agent_id_snapshot_timestamp_idx
ON agent_balance_snapshots (agent_id, snapshot_timestamp);
