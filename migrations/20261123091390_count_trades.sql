-- Why: a trade that waited for its wallet's lock still reads the snapshot from before: it must learn that another one
-- came first, so that it starts over with the figures as they are.
-- Locks: ACCESS EXCLUSIVE on agent_wallets for an instant; catalog only, nothing is rewritten.
-- Rollback loses: the counts, which nothing else refers to.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_wallets IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_wallets ADD COLUMN trade_count bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN agent_wallets.trade_count IS
'How many trades this wallet has made. A trade that finds it above its snapshot''s value waited for another one and starts over.';
