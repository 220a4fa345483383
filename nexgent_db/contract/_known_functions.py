"""Lists PostgreSQL's builtin functions, operators and nodes that never return NULL."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALWAYS",
    "COUNTS",
    "GROUP_AGGREGATES",
    "GROUP_COLLECTIONS",
    "NEVER_NODES",
    "PARTIAL_OPERATORS",
    "RANKS",
    "TOTAL",
    "TOTAL_SETS",
]

# Builtin functions that return a value whenever their arguments are values. A function that is missing here (to_char
# of infinity is NULL, jsonb lookups are) counts as one that can return NULL.
TOTAL: Final = frozenset(
    """
    abs acos age array_append array_cat array_prepend array_positions array_remove array_replace array_to_string
    ascii asin atan atan2 bit_length bool btrim cardinality cbrt ceil ceiling char_length character_length chr
    clock_timestamp concat concat_ws convert_from convert_to cos date date_bin date_trunc decode degrees div encode
    exp float4 float8 floor format gcd gen_random_uuid hashtext hashtextextended initcap int2 int4 int8 isfinite
    json_build_array json_build_object jsonb_build_array jsonb_build_object json_object jsonb_object
    jsonb_pretty jsonb_set jsonb_insert jsonb_strip_nulls json_strip_nulls jsonb_typeof json_typeof
    jsonb_array_length json_array_length lcm left length ln localtimestamp log lower lpad ltrim make_date
    make_interval make_time make_timestamp make_timestamptz md5 mod nextval normalize now num_nonnulls num_nulls
    numeric octet_length overlay pg_advisory_xact_lock pg_backend_pid pg_current_xact_id pg_try_advisory_xact_lock
    pi position pow power quote_ident quote_literal quote_nullable radians random regexp_count regexp_instr
    regexp_like regexp_replace regexp_split_to_array repeat replace reverse right round row_to_json rpad rtrim
    setseed sha224 sha256 sha384 sha512 sign sin split_part sqrt starts_with statement_timestamp strpos substr tan
    text textlen timezone timestamp timestamptz to_date to_hex to_json to_jsonb to_timestamp
    transaction_timestamp translate trim_scale trunc txid_current upper uuidv4 uuidv7 varchar width_bucket
    """.split()  # noqa: SIM905
)
ALWAYS: Final = frozenset(
    """
    array_append array_prepend concat json_build_array json_build_object jsonb_build_array jsonb_build_object
    num_nonnulls num_nulls quote_nullable
    """.split()  # noqa: SIM905
)
"""The functions that return a value even for NULL."""
TOTAL_SETS: Final = frozenset(
    """
    generate_series generate_subscripts jsonb_array_elements json_array_elements jsonb_each json_each
    jsonb_object_keys json_object_keys regexp_split_to_table
    """.split()  # noqa: SIM905
)
PARTIAL_OPERATORS: Final = frozenset({"->", "->>", "#>", "#>>", "@?", "@@"})
COUNTS: Final = frozenset({"count", "regr_count"})
GROUP_AGGREGATES: Final = frozenset(
    "sum min max avg bool_and bool_or every bit_and bit_or bit_xor string_agg any_value range_agg".split()  # noqa: SIM905
)
GROUP_COLLECTIONS: Final = frozenset(
    "array_agg json_agg jsonb_agg json_object_agg jsonb_object_agg json_agg_strict jsonb_agg_strict".split()  # noqa: SIM905
)
RANKS: Final = frozenset({"row_number", "rank", "dense_rank", "percent_rank", "cume_dist"})
NEVER_NODES: Final = frozenset(
    "NULLTEST BOOLEANTEST DISTINCTEXPR ARRAYEXPR ROWEXPR GROUPINGFUNC MERGESUPPORTFUNC NEXTVALUEEXPR".split()  # noqa: SIM905
)
