"""Which tests the workers of pytest-xdist run together."""

from xdist.scheduler import LoadFileScheduling

TOGETHER = ("tests/flows/test_reproduce.py", "tests/flows/test_retrain.py", "tests/flows/test_watch.py")
"""They use one Prefect server, which a worker starts once."""
APART = ("tests/pipeline/test_networks.py", "tests/unit/experiments/tables/test_spec.py")
"""Their tests take minutes in `make test-all` and share nothing."""


class Scheduling(LoadFileScheduling):
    """A file stays with one worker, for its fixtures, but for the files above."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if file in APART:
            return nodeid
        return "the Prefect server" if file in TOGETHER else file
