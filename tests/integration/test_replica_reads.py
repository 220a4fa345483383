"""A short run of ``python -m tests.chaos.replicas``: two standbys lag, freeze, end and are promoted."""

from __future__ import annotations

from tests.chaos.replicas import read_disturbed

READS = 10_000


def test_no_read_is_older_than_what_was_written_or_read() -> None:
    workers = read_disturbed(READS)
    assert workers.counted["reads"] >= READS
    assert len(workers.back_s) == 5
    shares = {share.phase: share.by_primary / share.reads for share in workers.shares}
    assert shares["undisturbed"] < 0.2
    assert shares["one applies a minute late"] < 0.5  # the other one answers
    assert shares["one promoted"] < 0.5
    assert shares["both apply 0.3 s late"] > 0.5
