-- Why: as for transactions; and (5,2) cannot hold a stop-loss above +999.99 %.
-- A full sale accounts for what all earlier take-profits of the position brought. Summing transactions there would read a
-- snapshot from before the lock; kept on the position, the figure is on the row that is locked. 20261123091210 fills it.
-- What remains is stored always: NULL meant the whole purchase, and every query had to say so. Ids of transactions are kept
-- as uuid, like everywhere else; a missing list becomes an empty one.
-- A token may be held by every agent. A trade looks for the agent's own position; with an index on the token
-- alone it reads those of all agents, as the planner does where most tokens have one holder. So that index goes on with the
-- agent.
-- A cache key holds the token in lower case, and a service may ask for the positions of a token in any case: an index of
-- its own serves that, under the collation "C" so that it is the same in every locale. It adds 150 bytes to the 3,700 bytes
-- of WAL that a buy writes.
-- Gain: a buy and a full sale of a token that 20,000 agents hold, 200,000 positions in all: 32 ms before this index and
-- the statements that came with it, 5 ms after.
-- Locks: ACCESS EXCLUSIVE on agent_positions while it is rewritten (open positions only: small).
-- Rollback loses: the proceeds; migrating again derives them from profit and cost basis. What remains stays stored. It
-- refuses to run while a value would not fit the old columns exactly.
-- squawk-ignore-file changing-column-type, constraint-missing-not-valid, adding-not-nullable-field, ban-drop-default
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_positions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

DROP INDEX agent_positions_token_address_idx;

ALTER TABLE agent_positions
    ALTER COLUMN purchase_price TYPE numeric(38, 18),
    ALTER COLUMN purchase_amount TYPE numeric(38, 18),
    ALTER COLUMN peak_price TYPE numeric(38, 18),
    ALTER COLUMN lowest_price TYPE numeric(38, 18),
    ALTER COLUMN remaining_amount TYPE numeric(38, 18) USING coalesce(remaining_amount, purchase_amount),
    ALTER COLUMN remaining_amount SET NOT NULL,
    ALTER COLUMN moon_bag_amount TYPE numeric(38, 18),
    ALTER COLUMN total_invested_sol TYPE numeric(38, 18),
    ALTER COLUMN realized_profit_sol TYPE numeric(38, 18),
    ALTER COLUMN current_stop_loss_percentage TYPE numeric(20, 4),
    ALTER COLUMN dca_transaction_ids DROP DEFAULT,
    ALTER COLUMN dca_transaction_ids TYPE uuid[] USING coalesce(dca_transaction_ids, '{}')::uuid[],
    ALTER COLUMN dca_transaction_ids SET DEFAULT '{}',
    ALTER COLUMN dca_transaction_ids SET NOT NULL,
    ALTER COLUMN take_profit_transaction_ids DROP DEFAULT,
    ALTER COLUMN take_profit_transaction_ids TYPE uuid[] USING take_profit_transaction_ids::uuid[],
    ALTER COLUMN take_profit_transaction_ids SET DEFAULT '{}',
    ADD COLUMN proceeds_sol numeric(38, 18) NOT NULL DEFAULT 0,
    ADD CONSTRAINT agent_positions_purchase_check
    CHECK (
        purchase_price >= 0.0 AND purchase_price <> 'NaN'
        AND purchase_amount > 0.0 AND purchase_amount <> 'NaN'
        AND total_invested_sol >= 0.0 AND total_invested_sol <> 'NaN'
    ),
    ADD CONSTRAINT agent_positions_remaining_amount_check
    CHECK (remaining_amount BETWEEN 0.0 AND purchase_amount),
    ADD CONSTRAINT agent_positions_moon_bag_amount_check
    CHECK (moon_bag_amount BETWEEN 0.0 AND remaining_amount),
    ADD CONSTRAINT agent_positions_counters_check
    CHECK (
        dca_count >= 0
        AND take_profit_levels_hit >= 0
        AND tp_batch_start_level >= 0
        AND total_take_profit_levels >= 0
    ),
    ADD CONSTRAINT agent_positions_proceeds_sol_check
    CHECK (proceeds_sol <> 'NaN');

COMMENT ON COLUMN agent_positions.proceeds_sol IS 'SOL received for what was sold so far, net of fees.';

-- positions.find_by_wallet_and_token, positions.list_open_tokens, positions.list_by_token and the trades.
CREATE INDEX agent_positions_token_address_agent_id_idx ON agent_positions (token_address, agent_id);

-- cache.list_positions_of_token, cache.list_members_of_tokens and cache.page_of_tokens.
CREATE INDEX agent_positions_lower_token_address_idx ON agent_positions (lower(token_address COLLATE "C"));
