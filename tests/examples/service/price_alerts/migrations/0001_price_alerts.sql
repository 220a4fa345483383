-- Why: the prices of tokens that agents wait for, and what they buy then.
-- Locks: SHARE ROW EXCLUSIVE on agent_wallets while the foreign key is made: trades wait for milliseconds.
-- Rollback loses: every alert.

CREATE TABLE price_alerts (
    id uuid NOT NULL DEFAULT new_id(),
    agent_id uuid NOT NULL,
    wallet_address varchar(44) NOT NULL,
    token_address varchar(255) NOT NULL,
    token_symbol varchar(20) NOT NULL,
    price numeric(38, 18) NOT NULL,
    sol_amount numeric(38, 18) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT price_alerts_pkey PRIMARY KEY (id),
    CONSTRAINT price_alerts_price_above_zero CHECK (price > 0 AND price <> 'NaN'),
    CONSTRAINT price_alerts_sol_amount_above_zero CHECK (sol_amount > 0 AND sol_amount <> 'NaN'),
    CONSTRAINT price_alerts_wallet_fkey FOREIGN KEY (agent_id, wallet_address)
    REFERENCES agent_wallets (agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE
);

-- list_by_agent; the cascade from wallets.
CREATE INDEX price_alerts_agent_id_created_at_idx ON price_alerts (agent_id, created_at DESC, id DESC);
