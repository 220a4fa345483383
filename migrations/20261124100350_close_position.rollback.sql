DROP FUNCTION close_position_v1(agent_positions, agent_transactions, agent_transactions, timestamptz, text);

DROP FUNCTION lock_signals_v1(bigint[]);
