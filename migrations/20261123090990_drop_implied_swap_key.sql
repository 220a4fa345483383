-- Why: that a swap's wallet exists follows from the wallet being the agent's own. One check less on every insert.
-- Locks: ACCESS EXCLUSIVE on agent_wallets and agent_historical_swaps for an instant; catalog only. A foreign key has
-- triggers on both tables, so both are locked, agent_historical_swaps first: a trade writes it before its keys are
-- looked up in agent_wallets.
-- Rollback loses: nothing; it reads all rows to prove the key again, and nobody writes meanwhile.
-- squawk-ignore-file ban-drop-constraint

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most: a quarter
-- for each table.
LOCK TABLE agent_wallets, agent_historical_swaps IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '250ms';

ALTER TABLE agent_historical_swaps DROP CONSTRAINT agent_historical_swaps_wallet_address_fkey;
