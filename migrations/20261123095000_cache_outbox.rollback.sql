DROP FUNCTION compact_outbox_v1;

DROP FUNCTION truncated_to_cache_outbox();

DROP TABLE cache_outbox;

DROP SEQUENCE row_version_seq;
