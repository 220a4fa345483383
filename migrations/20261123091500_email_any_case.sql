-- Why: an e-mail address is unique whatever its case.
-- Locks: SHARE on users while the index is built; the table is small.
-- Rollback loses: nothing but the rule.
-- squawk-ignore-file require-concurrent-index-creation

CREATE UNIQUE INDEX users_lower_email_key ON users (lower(email));
