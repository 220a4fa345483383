LOCK TABLE agent_transactions, agent_historical_swaps, signal_executions, trading_signals IN ACCESS EXCLUSIVE MODE;

DROP INDEX trading_signals_user_id_created_at_id_idx;

ALTER SEQUENCE trading_signals_id_seq AS integer;

ALTER TABLE trading_signals
    DROP CONSTRAINT trading_signals_signal_strength_check,
    ALTER COLUMN id TYPE integer;

CREATE INDEX trading_signals_user_id_idx ON trading_signals (user_id);
