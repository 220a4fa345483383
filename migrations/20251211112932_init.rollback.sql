-- Back to an empty schema.
--
-- Why: undoes 20251211112932_init.
-- Locks: ACCESS EXCLUSIVE on every table, until the end.
-- Loses: every user, agent, wallet, balance, position, transaction, signal and closed trade.
--
-- All tables in one statement and without CASCADE: an object that is not ours but depends on them stops it.

DROP TABLE users, agents, agent_wallets, agent_balances, agent_positions, agent_transactions, agent_historical_swaps,
trading_signals, signal_executions;

DROP TYPE "TransactionType";
