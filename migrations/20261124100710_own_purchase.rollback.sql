DROP TRIGGER agent_positions_own_purchase ON agent_positions;

DROP FUNCTION require_own_purchase;
