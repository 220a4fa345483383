-- Why: history left ids and change times to its client; a row that a DBA inserts in psql needs them as well.
-- Locks: ACCESS EXCLUSIVE on each table for an instant; catalog only, nothing is rewritten.
-- Rollback loses: nothing but the defaults.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE
    agent_positions, agent_balances, agent_balance_snapshots, agent_transactions,
    agent_historical_swaps, trading_signals, signal_executions
IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE users ALTER COLUMN id SET DEFAULT gen_random_uuid();

ALTER TABLE api_keys ALTER COLUMN id SET DEFAULT gen_random_uuid();

ALTER TABLE agents
    ALTER COLUMN id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP;

ALTER TABLE agent_wallets ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP;

ALTER TABLE agent_balances
    ALTER COLUMN id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN last_updated SET DEFAULT CURRENT_TIMESTAMP;

ALTER TABLE agent_balance_snapshots
    ALTER COLUMN id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP;

ALTER TABLE agent_positions
    ALTER COLUMN id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP;

ALTER TABLE agent_transactions
    ALTER COLUMN id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP;

ALTER TABLE agent_historical_swaps ALTER COLUMN id SET DEFAULT gen_random_uuid();

ALTER TABLE trading_signals ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP;

ALTER TABLE signal_executions ALTER COLUMN id SET DEFAULT gen_random_uuid();
