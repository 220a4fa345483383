-- transactional: true
-- Nothing to undo: the figures are dropped with their column.

SELECT;
