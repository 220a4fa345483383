-- Why: a trade whose reply was lost is sent again. The same order must then return the first result and change nothing;
-- another order under the same id must be refused.
-- Locks: SHARE ROW EXCLUSIVE on agent_wallets for an instant: the new table's key refers to it. Reads go on.
-- Rollback loses: the memory of requests: a trade repeated afterwards is refused by its transaction's id.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_wallets IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

CREATE TABLE trade_requests (
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    wallet_address varchar(44) NOT NULL,
    operation varchar(20) NOT NULL,
    content_digest bytea NOT NULL,
    result jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT trade_requests_pkey PRIMARY KEY (id),
    CONSTRAINT trade_requests_operation_check CHECK (
        operation IN (
            'deposit', 'withdrawal', 'burn', 'swap', 'buy', 'dca_buy', 'take_profit', 'sell', 'reset_wallet'
        )
    ),
    CONSTRAINT trade_requests_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE
);

COMMENT ON TABLE trade_requests IS
'One row for each trade made: what was asked for (a SHA-256) and what came of it. Old rows may be deleted.';

-- The cascade from agent_wallets.
CREATE INDEX trade_requests_agent_id_wallet_address_idx ON trade_requests (agent_id, wallet_address);
