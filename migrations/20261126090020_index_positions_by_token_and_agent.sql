-- transactional: false
-- Why: a token may be held by every agent. Who trades it looks for the agent's own position, and by the index by token
-- reads everybody's; so the planner does where most tokens have one holder.
-- Gain: a buy and a full sale of a token that 20,000 agents hold, 200,000 positions in all: 32 ms before this and the
-- statements that came with it, 5 ms after.
-- Locks: SHARE UPDATE EXCLUSIVE on agent_positions while the index is built; reads and writes go on.
-- Rollback loses: nothing but speed.

CREATE INDEX CONCURRENTLY IF NOT EXISTS agent_positions_token_address_agent_id_idx
ON agent_positions (token_address, agent_id);
