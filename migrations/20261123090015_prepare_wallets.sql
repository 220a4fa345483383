-- Why: history left change times to its client; a row that a DBA inserts in psql needs them as well. The table refuses
-- a wallet type that does not exist. The unique index on agent and type begins with the agent, and serves every look-up
-- of the one on the agent alone.
-- The table refuses times that Python's calendar does not have, such as infinity: nobody could read them.
-- Locks: ACCESS EXCLUSIVE on agent_wallets for an instant; catalog only. NOT VALID: new rows are held to the check at
-- once, 20261123090900 reads the existing ones under a lock that lets trades go on.
-- Rollback loses: nothing but the default and the checks. It builds the index again; writes to the table wait.
-- squawk-ignore-file require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_wallets IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_wallets
    ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP,
    ADD CONSTRAINT agent_wallets_wallet_type_check
    CHECK (wallet_type IN ('simulation', 'live')) NOT VALID,
    ADD CONSTRAINT agent_wallets_times_check CHECK (
        least(created_at, updated_at) >= '0001-01-02 00:00:00+00'
        AND greatest(created_at, updated_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

DROP INDEX agent_wallets_agent_id_idx; -- agent_wallets_agent_id_wallet_type_key
