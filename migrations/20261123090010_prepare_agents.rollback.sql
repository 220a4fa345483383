CREATE INDEX agents_automated_trading_live_idx ON agents (automated_trading_live);
CREATE INDEX agents_automated_trading_simulation_idx ON agents (automated_trading_simulation);

ALTER TABLE agents
    DROP CONSTRAINT agents_times_check,
    DROP CONSTRAINT agents_trading_mode_check,
    ALTER COLUMN id DROP DEFAULT,
    ALTER COLUMN updated_at DROP DEFAULT;
