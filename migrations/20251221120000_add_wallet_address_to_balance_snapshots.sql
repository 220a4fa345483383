-- Snapshots per wallet instead of per agent.
--
-- Why: an agent's sum mixed simulated and live money. The rows so far lack the wallet and cannot be told apart
--   afterwards, so they are deleted.
-- Locks: ACCESS EXCLUSIVE on agent_balance_snapshots until the end; SHARE ROW EXCLUSIVE on agent_wallets, likewise.
-- Rollback loses: all snapshots, for the same reason in reverse (and those deleted here do not come back).
--
-- The new index names are short because the full ones exceed PostgreSQL's 63 characters.

DELETE FROM agent_balance_snapshots;

DROP INDEX agent_balance_snapshots_agent_id_snapshot_timestamp_key;
DROP INDEX agent_balance_snapshots_agent_id_snapshot_timestamp_idx;

ALTER TABLE agent_balance_snapshots
ADD COLUMN wallet_address varchar(44) NOT NULL,
ADD CONSTRAINT agent_balance_snapshots_wallet_address_fkey FOREIGN KEY (wallet_address)
REFERENCES agent_wallets (wallet_address) ON DELETE CASCADE ON UPDATE CASCADE;

-- One snapshot per wallet and time; the target of the hourly upsert.
CREATE UNIQUE INDEX abs_agent_wallet_timestamp_key
ON agent_balance_snapshots (agent_id, wallet_address, snapshot_timestamp);
-- The chart of an agent's wallet.
CREATE INDEX abs_agent_wallet_timestamp_idx
ON agent_balance_snapshots (agent_id, wallet_address, snapshot_timestamp);
-- A wallet's snapshots; also the key's ON DELETE.
CREATE INDEX abs_wallet_address_idx ON agent_balance_snapshots (wallet_address);
