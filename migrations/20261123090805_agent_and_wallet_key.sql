-- Why: history lets a balance name one agent and another agent's wallet. A foreign key over both columns cannot; this
-- is what it refers to.
-- Locks: ACCESS EXCLUSIVE on agent_wallets for an instant; catalog only, the index is there.
-- Rollback loses: nothing but the key. It builds the index again, and nobody writes meanwhile; the table is small.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_wallets IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_wallets
    ADD CONSTRAINT agent_wallets_agent_id_wallet_address_key
    UNIQUE USING INDEX agent_wallets_agent_id_wallet_address_key;
