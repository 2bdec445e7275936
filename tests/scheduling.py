"""Which tests the workers of pytest-xdist run together."""

import pytest
from xdist.scheduler import LoadFileScheduling

FIRST = ("tests/flows/test_story.py", "tests/pipeline/test_tables.py")
"""They take longest in `make test-all`: begun last, they would leave the other workers idle at the end."""
TOGETHER = tuple(f"tests/flows/test_{name}.py" for name in ("kubernetes", "reproduce", "retrain", "watch"))
"""They use one Prefect server, which a worker starts once."""
APART = (
    "tests/pipeline/test_networks.py",
    "tests/pipeline/test_tables.py",
    "tests/unit/experiments/tables/test_spec.py",
)
"""Their tests take minutes in `make test-all` and share nothing."""


def longest_first(items: list[pytest.Item]) -> None:
    """Put the tests of the files in FIRST before all others, in place."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


class Scheduling(LoadFileScheduling):
    """A file stays with one worker, for its fixtures, but for the files above."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if file in APART:
            return nodeid
        return "the Prefect server" if file in TOGETHER else file
