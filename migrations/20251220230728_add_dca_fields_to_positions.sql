-- A position may be bought in several parts (dollar-cost averaging).
--
-- Why: the next buy depends on how many there were, when the last one was, the lowest price seen, and what was paid.
-- Locks: ACCESS EXCLUSIVE on agent_positions until the end; the added columns rewrite nothing, but every row is updated.
-- Rollback loses: the DCA history of open positions.

ALTER TABLE agent_positions
ADD COLUMN dca_count integer NOT NULL DEFAULT 0,
ADD COLUMN dca_transaction_ids text[] DEFAULT ARRAY[]::text[],
ADD COLUMN last_dca_time timestamptz,
ADD COLUMN lowest_price numeric(30, 18),
ADD COLUMN total_invested_sol numeric(20, 8) NOT NULL DEFAULT 0;

-- So far each position was one purchase: that is what was invested, and the lowest price known.
UPDATE agent_positions
SET
    total_invested_sol = purchase_price * purchase_amount,
    lowest_price = purchase_price;
