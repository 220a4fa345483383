"""Inputs that are almost right: samples with some pieces cut out, doubled or replaced. For the fuzzers.

``fuzz`` decorates a property: a hundred inputs in `make test`, FUZZ_EXAMPLES of them in `make fuzz`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from nexgent_db.errors import NexgentError

fuzz: Final = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
SECRET: Final = "s3cretWord"

_HOSTILE: Final = (
    "",
    "\0",
    "\n",
    "\r",
    "\x1b[31m",
    "\u202e",
    "\u2028",
    "\ufeff",
    "\ud800",
    "é",
    "💥",
    "٣",
    "²",
    " ",
    "\t",
    "%",
    "%00",
    "%ff",
    "\\",
    "'",
    '"',
    "$",
    "$$",
    "/*",
    "--",
    ";",
    "NaN",
    "Infinity",
    "-0",
    "1e400",
    "1_0",
    "0E-999999999",
    "9" * 19,
    "9" * 400,
    "9" * 5000,
    "[" * 30,
    "[" * 20_000,
    '{"a":' * 4_000,
    "(" * 3000,
    "null",
    "true",
    "-1",
)


@st.composite
def mutants(draw: DrawFn, samples: Sequence[str], pieces: Sequence[str] = ()) -> str:
    """One of the samples after up to four edits: a slice of it becomes a piece, a hostile text or another slice."""
    text = draw(st.sampled_from(samples))
    inserted = st.sampled_from([*_HOSTILE, *pieces]) | st.text(max_size=6)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 1, 2, 5, 20])))
        other = draw(st.integers(0, len(text)))
        new = draw(inserted | st.just(text[other : other + 20]))
        text = text[:start] + new + text[end:]
    return text


def mutant_bytes(samples: Sequence[str], pieces: Sequence[str] = ()) -> SearchStrategy[bytes]:
    """The same as bytes of UTF-8, or of what is almost UTF-8."""
    return st.one_of(
        mutants(samples, pieces).map(lambda text: text.encode(errors="surrogatepass")),
        st.binary(max_size=40),
        st.tuples(mutants(samples, pieces), st.binary(max_size=4)).map(
            lambda both: both[0].encode(errors="surrogatepass") + both[1]
        ),
    )


def ensure_good(error: NexgentError, longest: int = 5_000) -> None:
    """The message of an error is one visible line without the samples' secret, and not longer than ``longest``."""
    message = str(error)
    assert message.isprintable()
    assert SECRET not in message
    assert len(message) <= longest
