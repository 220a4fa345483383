DROP INDEX signal_executions_pending_idx;
DROP INDEX signal_executions_transaction_id_idx;

LOCK TABLE signal_executions, trading_signals IN ACCESS EXCLUSIVE MODE;

ALTER TABLE signal_executions
    DROP CONSTRAINT signal_executions_signal_id_fkey,
    DROP CONSTRAINT signal_executions_status_check,
    ALTER COLUMN signal_id TYPE integer,
    ADD CONSTRAINT signal_executions_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE CASCADE;
