-- What an agent was worth, hour by hour.
--
-- Why: charts of an agent's value over time cannot be drawn from balances, which hold only the present.
-- Locks: SHARE ROW EXCLUSIVE on agents for an instant (the new key refers to it): writers wait, readers do not.
-- Rollback loses: all snapshots.

-- One row: the value of an agent's portfolio at one time, in SOL.
CREATE TABLE agent_balance_snapshots (
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    snapshot_timestamp timestamptz NOT NULL,
    portfolio_balance_sol numeric(20, 8) NOT NULL,
    sol_balance numeric(20, 8) NOT NULL,
    positions_value_sol numeric(20, 8) NOT NULL,
    unrealized_pnl_sol numeric(20, 8) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL,
    CONSTRAINT agent_balance_snapshots_pkey PRIMARY KEY (id),
    CONSTRAINT agent_balance_snapshots_agent_id_fkey FOREIGN KEY (agent_id)
    REFERENCES agents (id) ON DELETE CASCADE ON UPDATE CASCADE
);

-- One snapshot per agent and time; the target of the hourly upsert.
CREATE UNIQUE INDEX agent_balance_snapshots_agent_id_snapshot_timestamp_key
ON agent_balance_snapshots (agent_id, snapshot_timestamp);
-- An agent's chart.
CREATE INDEX agent_balance_snapshots_agent_id_snapshot_timestamp_idx
ON agent_balance_snapshots (agent_id, snapshot_timestamp);
-- Pruning by age.
CREATE INDEX agent_balance_snapshots_snapshot_timestamp_idx ON agent_balance_snapshots (snapshot_timestamp);
