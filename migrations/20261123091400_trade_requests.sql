-- Why: a trade whose reply was lost is sent again. The same order must then return the first result and change nothing;
-- another order under the same id must be refused. A row holds what the result needs and nothing else keeps: the
-- balances after the trade, the positions that it changed, and, where later trades change these again, their values.
-- Locks: none on tables.
-- Rollback loses: the memory of requests: a trade repeated afterwards is refused by its transaction's id.

CREATE TABLE trade_requests (
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    wallet_address varchar(44) NOT NULL,
    operation varchar(20) NOT NULL,
    content_digest bytea NOT NULL,
    version bigint NOT NULL,
    balance_ids uuid[] NOT NULL DEFAULT '{}',
    balances numeric(38, 18)[] NOT NULL DEFAULT '{}',
    position_ids uuid[] NOT NULL DEFAULT '{}',
    position_values jsonb,
    transaction_ids uuid[],
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT trade_requests_pkey PRIMARY KEY (id),
    CONSTRAINT trade_requests_times_check CHECK (
        created_at >= '0001-01-02 00:00:00+00'
        AND created_at < '9999-01-01 00:00:00+00'
    ),
    CONSTRAINT trade_requests_content_digest_check CHECK (octet_length(content_digest) = 32),
    CONSTRAINT trade_requests_operation_check CHECK (
        operation IN (
            'deposit', 'withdrawal', 'burn', 'swap', 'buy', 'dca_buy', 'take_profit', 'sell', 'write_off', 'reset_wallet'
        )
    )
);

COMMENT ON TABLE trade_requests IS
'One row for each trade made: what was asked for (a SHA-256), and what its result needs that no other row keeps.';
COMMENT ON COLUMN trade_requests.id IS
'The trade''s id: trade_id_of the agent and the id that the order was sent with. The transaction has it too.';
COMMENT ON COLUMN trade_requests.version IS 'The version that the trade gave to every row it changed.';
COMMENT ON COLUMN trade_requests.balance_ids IS 'The changed balances, in the order of their tokens, by address.';
COMMENT ON COLUMN trade_requests.balances IS
'The changed balances after the trade, in the same order.';
COMMENT ON COLUMN trade_requests.position_ids IS 'The positions that the trade opened, changed or closed.';
COMMENT ON COLUMN trade_requests.position_values IS
'The position after a DCA buy or a take-profit: the columns that later trades change.';
COMMENT ON COLUMN trade_requests.transaction_ids IS 'The transactions of a wallet''s reset; NULL for other trades, whose '
'transaction has the trade''s id.';

-- A changed address of a wallet: its other requests are found by their transactions.
CREATE INDEX trade_requests_resets_idx ON trade_requests (agent_id, wallet_address) WHERE operation = 'reset_wallet';

-- The pruning of old requests.
CREATE INDEX trade_requests_created_at_idx ON trade_requests (created_at) WHERE operation <> 'reset_wallet';
