CREATE INDEX abs_wallet_address_idx ON agent_balance_snapshots (wallet_address);
CREATE INDEX abs_agent_wallet_timestamp_idx ON agent_balance_snapshots (agent_id, wallet_address, snapshot_timestamp);

ALTER TABLE agent_balance_snapshots
    DROP CONSTRAINT agent_balance_snapshots_times_check,
    ALTER COLUMN id DROP DEFAULT,
    ALTER COLUMN updated_at DROP DEFAULT;
