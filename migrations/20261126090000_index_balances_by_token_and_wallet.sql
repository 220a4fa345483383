-- transactional: false
-- Why: every wallet has a balance of SOL. A look-up by wallet and token that takes the index by token reads all of them;
-- so the planner does where most tokens have one holder. An index that begins with the token and goes on with the wallet
-- finds the one row.
-- Gain: one row read instead of a thousand, where a thousand wallets are (tests/integration/test_trade_reads.py).
-- Locks: SHARE UPDATE EXCLUSIVE on agent_balances while the index is built; reads and writes go on.
-- Rollback loses: nothing but speed.

CREATE INDEX CONCURRENTLY IF NOT EXISTS agent_balances_token_address_wallet_address_idx
ON agent_balances (token_address, wallet_address);
