DROP FUNCTION truncated_to_cache_outbox();

DROP TABLE cache_outbox;

DROP SEQUENCE row_version_seq;
