-- Why: an e-mail address is unique whatever the case of its letters A to Z, and whichever of the two ways its accents
-- are written (one character, or letter and accent), in a database of any locale.
-- Locks: SHARE on users while the index is built; the table is small.
-- Rollback loses: nothing but the rule.
-- squawk-ignore-file require-concurrent-index-creation

-- The rule, and users.find_by_email.
CREATE UNIQUE INDEX users_lower_email_key ON users (lower(normalize(email) COLLATE "C"));
