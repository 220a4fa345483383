-- No snapshots.
--
-- Why: undoes 20251220051448_add_agent_balance_snapshots.
-- Locks: ACCESS EXCLUSIVE on agent_balance_snapshots, and on agents for an instant (its key's triggers go).
-- Loses: all snapshots; they cannot be computed again, since past balances are not kept.

DROP TABLE agent_balance_snapshots;
