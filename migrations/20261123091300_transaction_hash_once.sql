-- Why: an on-chain transaction is recorded once for each wallet, however often its news arrives. One of them can
-- move several amounts (the recorded history has up to four in one): its legs are numbered from 0.
-- Locks: ACCESS EXCLUSIVE on agent_transactions while the index is built and repeated hashes are numbered.
-- Rollback loses: the numbers of the legs.
-- squawk-ignore-file constraint-missing-not-valid, disallowed-unique-constraint

ALTER TABLE agent_transactions ADD COLUMN transaction_leg integer NOT NULL DEFAULT 0;

COMMENT ON COLUMN agent_transactions.transaction_leg IS 'Which movement of the on-chain transaction this is, from 0.';

UPDATE agent_transactions AS t
SET transaction_leg = repeated.leg
FROM (
    SELECT
        id,
        row_number() OVER (
            PARTITION BY wallet_address, transaction_hash
            ORDER BY transaction_time, created_at, id
        ) - 1 AS leg
    FROM agent_transactions
    WHERE transaction_hash IS NOT NULL AND wallet_address IS NOT NULL
) AS repeated
WHERE repeated.id = t.id AND repeated.leg > 0;

ALTER TABLE agent_transactions
    ADD CONSTRAINT agent_transactions_wallet_address_transaction_hash_key
    UNIQUE (wallet_address, transaction_hash, transaction_leg),
    ADD CONSTRAINT agent_transactions_transaction_leg_check CHECK (transaction_leg >= 0);
