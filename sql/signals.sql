-- Signals: one row per suggestion to trade a token. Model: TradingSignal.
-- A signal belongs to the user who created it: only that user's agents act on it. Only an update and a deletion lock its row.

-- name: find_by_id :optional
-- The signal of this id.
SELECT
    id,
    created_at,
    updated_at,
    token_address,
    symbol,
    signal_type,
    activation_reason,
    signal_strength,
    source,
    user_id
FROM trading_signals
WHERE id = :signal_id;

-- name: create :one
-- Creates a signal. Violates trading_signals_signal_strength_check when the strength is not from 1 to 100.
INSERT INTO trading_signals (
    user_id,
    token_address,
    symbol,
    signal_type,
    activation_reason,
    signal_strength,
    source
)
VALUES (
    :user_id,
    :token_address,
    :symbol,
    :signal_type,
    :activation_reason,
    :signal_strength,
    :source
)
RETURNING
    id,
    created_at,
    updated_at,
    token_address,
    symbol,
    signal_type,
    activation_reason,
    signal_strength,
    source,
    user_id;

-- name: create_many :many
-- Creates many signals of one user in one statement, in the order given; all of them or none.
INSERT INTO trading_signals (
    user_id,
    token_address,
    symbol,
    signal_type,
    activation_reason,
    signal_strength,
    source
)
SELECT
    :user_id,
    given.token_address,
    given.symbol,
    given.signal_type,
    given.activation_reason,
    given.signal_strength,
    given.source
FROM unnest(
    :token_addresses::text[],
    :symbols::text[],
    :signal_types::text[],
    :activation_reasons::text[],
    :signal_strengths::bigint[],
    :sources::text[]
) WITH ORDINALITY AS given (
    token_address, symbol, signal_type, activation_reason, signal_strength, source, ordinal
)
ORDER BY given.ordinal
LIMIT 10000 -- the caller's maximum
RETURNING
    id,
    created_at,
    updated_at,
    token_address,
    symbol,
    signal_type,
    activation_reason,
    signal_strength,
    source,
    user_id;

-- name: update :optional
-- Updates the columns whose parameters are given. No row comes back when there is no such signal.
UPDATE trading_signals
SET
    updated_at = now()
    , token_address = :token_address -- if given
    , symbol = :symbol -- if given
    , signal_type = :signal_type -- if given
    , activation_reason = :activation_reason -- if given
    , signal_strength = :signal_strength -- if given
    , source = :source -- if given
WHERE id = :signal_id
RETURNING
    id,
    created_at,
    updated_at,
    token_address,
    symbol,
    signal_type,
    activation_reason,
    signal_strength,
    source,
    user_id;

-- name: list_by_user :many
-- The user's signals, newest first; the page after the cursor when one is given.
SELECT
    id,
    created_at,
    updated_at,
    token_address,
    symbol,
    signal_type,
    activation_reason,
    signal_strength,
    source,
    user_id
FROM trading_signals
WHERE user_id = :user_id
    AND token_address = :token_address -- if given
    AND signal_type = :signal_type -- if given
    AND source = :source -- if given
    AND signal_strength >= :min_signal_strength -- if given
    AND signal_strength <= :max_signal_strength -- if given
    AND created_at >= :created_from -- if given
    AND created_at <= :created_to -- if given
    AND (created_at, id) < (:before_time, :before_id) -- if given
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: stream_by_user :stream
-- All of the user's signals, newest first.
SELECT
    id,
    created_at,
    updated_at,
    token_address,
    symbol,
    signal_type,
    activation_reason,
    signal_strength,
    source,
    user_id
FROM trading_signals
WHERE user_id = :user_id
    AND token_address = :token_address -- if given
    AND signal_type = :signal_type -- if given
    AND source = :source -- if given
    AND signal_strength >= :min_signal_strength -- if given
    AND signal_strength <= :max_signal_strength -- if given
    AND created_at >= :created_from -- if given
    AND created_at <= :created_to -- if given
ORDER BY created_at DESC, id DESC;

-- name: count_by_user :one
-- The number of the user's signals.
SELECT count(*) AS total
FROM trading_signals
WHERE user_id = :user_id
    AND token_address = :token_address -- if given
    AND signal_type = :signal_type -- if given
    AND source = :source -- if given
    AND signal_strength >= :min_signal_strength -- if given
    AND signal_strength <= :max_signal_strength -- if given
    AND created_at >= :created_from -- if given
    AND created_at <= :created_to; -- if given

-- name: list_eligible_agents :many
-- The agents that may act on this signal: the creator's agents whose automated trading is on in their trading mode and
-- that have no execution of it.
SELECT
    a.id,
    a.name,
    a.trading_mode,
    a.trading_config,
    w.wallet_address
FROM trading_signals AS s
JOIN agents AS a ON a.user_id = s.user_id
LEFT JOIN agent_wallets AS w ON w.agent_id = a.id AND w.wallet_type = a.trading_mode
WHERE s.id = :signal_id
    AND CASE a.trading_mode
        WHEN 'live' THEN a.automated_trading_live
        ELSE a.automated_trading_simulation
    END
    AND NOT EXISTS (
        SELECT FROM signal_executions AS e
        WHERE e.signal_id = s.id AND e.agent_id = a.id
    )
ORDER BY a.id
LIMIT :limit;

-- name: delete :rows
-- Deletes the signal with its executions; in transactions and historical swaps that name it, signal_id becomes NULL.
DELETE FROM trading_signals
WHERE id = :signal_id;
