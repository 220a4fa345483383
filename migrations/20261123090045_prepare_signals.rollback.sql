CREATE INDEX trading_signals_signal_type_idx ON trading_signals (signal_type);
CREATE INDEX trading_signals_created_at_idx ON trading_signals (created_at);

ALTER TABLE trading_signals
    DROP CONSTRAINT trading_signals_times_check,
    ALTER COLUMN updated_at DROP DEFAULT;
