"""``python -m tests.mutations``: plant each bug, and show which test catches it. Exit code 1 when one is not caught."""

from __future__ import annotations

import argparse
import sys

from tests.mutations.planted import MUTATIONS
from tests.mutations.run import copied_tree, passes_without, verdict_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("only", nargs="*", help="plant only the bugs with one of these in their text or path")
    only = parser.parse_args().only or [""]
    chosen = [each for each in MUTATIONS if any(part in f"{each.bug} {each.path}" for part in only)]
    with copied_tree() as tree:
        if failure := passes_without(tree, chosen):
            print(f"the tests fail without any bug:\n{failure}", file=sys.stderr)
            return 1
        missed = 0
        for mutation in chosen:
            verdict = verdict_of(tree, mutation)
            missed += not verdict.caught
            word = "caught" if verdict.caught else "MISSED"
            print(f"{word}  {verdict.seconds:5.1f} s  {mutation.bug}  [{mutation.path}]", flush=True)
            print(f"         by {mutation.test}: {verdict.why}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} planted bugs are caught")
    return 1 if missed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
