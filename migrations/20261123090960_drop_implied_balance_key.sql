-- Why: that a balance's wallet exists follows from the wallet being the agent's own. One check less on every insert.
-- Locks: ACCESS EXCLUSIVE on agent_wallets and agent_balances for an instant; catalog only. A foreign key has triggers
-- on both tables, so both are locked, agent_wallets first: a trade has written the ledger, which refers to it, before
-- it comes to agent_balances.
-- Rollback loses: nothing; it reads all rows to prove the key again, and nobody writes meanwhile.
-- squawk-ignore-file ban-drop-constraint

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most: a quarter
-- for each table.
LOCK TABLE agent_wallets, agent_balances IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '250ms';
LOCK TABLE agent_wallets IN ACCESS EXCLUSIVE MODE;

ALTER TABLE agent_balances DROP CONSTRAINT agent_balances_wallet_address_fkey;
