-- Why: an e-mail address is unique whatever its case.
-- Locks: SHARE on users while the index is built; the table is small.
-- Rollback loses: nothing but the rule.
-- squawk-ignore-file require-concurrent-index-creation

-- The rule, and users.find_by_email.
CREATE UNIQUE INDEX users_lower_email_key ON users (lower(email));
