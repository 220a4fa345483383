ALTER TABLE agent_positions DROP COLUMN proceeds_sol;
