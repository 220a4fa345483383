-- Why: an on-chain transaction is recorded once for each wallet, however often its news arrives. One of them can
-- move several amounts (the recorded history has up to four in one): its legs are numbered from 0.
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant; catalog only. The next migrations number what is there
-- and make the rule hold.
-- Rollback loses: the numbers of the legs.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_transactions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_transactions
    ADD COLUMN transaction_leg integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT agent_transactions_transaction_leg_check CHECK (transaction_leg >= 0) NOT VALID;

COMMENT ON COLUMN agent_transactions.transaction_leg IS 'Which movement of the on-chain transaction this is, from 0.';
