-- Numbers and long texts, made by the server.

-- name: list_texts :many
-- So many texts of this length.
SELECT repeat('x', :length::int) AS text
FROM generate_series(1, :count::int);

-- name: stream_texts :stream
-- The same, one after the other.
SELECT repeat('x', :length::int) AS text
FROM generate_series(1, :count::int);
