CREATE INDEX signal_executions_signal_id_idx ON signal_executions (signal_id);

ALTER TABLE signal_executions
    DROP CONSTRAINT signal_executions_times_check,
    ALTER COLUMN id DROP DEFAULT;
