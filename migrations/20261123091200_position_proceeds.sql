-- Why: a full sale accounts for what all earlier take-profits of the position brought. Summing transactions there
-- would read a snapshot from before the lock; kept on the position, the figure is on the row that is locked.
-- Locks: ACCESS EXCLUSIVE on agent_positions for an instant; catalog only. The next migrations fill the column and prove
-- its check.
-- Rollback loses: the proceeds; migrating again derives them from profit and cost basis.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_positions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_positions
    ADD COLUMN proceeds_sol numeric(38, 18) NOT NULL DEFAULT 0,
    ADD CONSTRAINT agent_positions_proceeds_sol_check CHECK (proceeds_sol <> 'NaN') NOT VALID;

COMMENT ON COLUMN agent_positions.proceeds_sol IS 'SOL received for what was sold so far, net of fees.';
