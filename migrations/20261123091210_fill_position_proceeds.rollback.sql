-- transactional: true
-- Nothing to undo: the figures go with their column.

SELECT;
