-- Nothing to undo: it only reads.

SELECT;
