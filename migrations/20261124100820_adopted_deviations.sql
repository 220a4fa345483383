-- Why: an adopted database has rows that break a rule of sql/checks.sql, because its trades were computed with doubles. What
-- they deviate by is recorded once, so that the checks tell these from new ones: a trade moves a balance and its ledger
-- by the same amount, whatever lies between the two.
-- Locks: SHARE ROW EXCLUSIVE on agent_wallets for an instant; catalog only, nothing is read.
-- Rollback loses: the record.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_wallets IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

CREATE TABLE adopted_deviations (
    id uuid NOT NULL DEFAULT new_id(),
    rule text NOT NULL,
    agent_id uuid NOT NULL,
    wallet_address varchar(44) NOT NULL,
    token_address varchar(255) NOT NULL,
    row_id uuid,
    figure text,
    deviation numeric(38, 18),
    CONSTRAINT adopted_deviations_pkey PRIMARY KEY (id),
    CONSTRAINT adopted_deviations_figure_check CHECK ((figure IS NULL) = (deviation IS NULL)),
    CONSTRAINT adopted_deviations_agent_id_wallet_address_fkey FOREIGN KEY (agent_id, wallet_address)
    REFERENCES agent_wallets (agent_id, wallet_address) ON UPDATE CASCADE ON DELETE CASCADE
);

-- balances.list_ledger_differences, and the key of the wallet.
CREATE INDEX adopted_deviations_wallet_address_agent_id_idx ON adopted_deviations (wallet_address, agent_id);

COMMENT ON TABLE adopted_deviations IS 'What rows of an adopted database deviated by from a rule of sql/checks.sql.';
COMMENT ON COLUMN adopted_deviations.row_id IS 'The position or swap; NULL for a balance.';
COMMENT ON COLUMN adopted_deviations.deviation IS
'The row''s figure less what the ledger says; NULL where the row breaks a rule without figures.';
