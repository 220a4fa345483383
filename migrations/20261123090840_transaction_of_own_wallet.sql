-- Why: the wallet that a transaction names is its agent's own.
-- Locks: SHARE ROW EXCLUSIVE on agent_wallets and agent_transactions for an instant, in the order in which writers take
-- them. A foreign key locks both, and there is no way around it. Reads go on, and of trades those that write
-- agent_transactions wait. NOT VALID: the existing rows are read by a later migration, under a lock that lets trades go
-- on.
-- Rollback loses: nothing but the key.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most: a quarter
-- for each table.
LOCK TABLE agent_wallets, agent_transactions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '250ms';
LOCK TABLE agent_wallets IN SHARE ROW EXCLUSIVE MODE;

ALTER TABLE agent_transactions
    ADD CONSTRAINT agent_transactions_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;
