CREATE INDEX api_keys_key_hash_idx ON api_keys (key_hash);
