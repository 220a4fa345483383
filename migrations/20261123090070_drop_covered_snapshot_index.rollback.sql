CREATE INDEX abs_agent_wallet_timestamp_idx ON agent_balance_snapshots (agent_id, wallet_address, snapshot_timestamp);
