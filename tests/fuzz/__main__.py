"""`python -m tests.fuzz MINUTES [TARGET ...]`: new examples for so many minutes each; prints how many there were."""

import sys
import time

from hypothesis import HealthCheck, settings

from tests.fuzz import test_readers

TARGETS = {
    name.removeprefix("test_"): test for name, test in vars(test_readers).items() if name.startswith("test_")
}
ROUND = settings(
    max_examples=500,
    derandomize=False,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


def fuzz(name: str, minutes: float) -> None:
    """Raise what the target raises at the first example that fails."""
    test, rounds, end = ROUND(TARGETS[name]), 0, time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        test()
        rounds += 1
    print(f"{name}: {rounds * ROUND.max_examples:,} examples in {minutes:g} minutes, none failed", flush=True)


for target in sys.argv[2:] or TARGETS:
    fuzz(target, float(sys.argv[1]))
