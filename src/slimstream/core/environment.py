"""Settings of the machine (cluster, number of processes), read from environment variables.

They are not in params.yaml, because they do not change results (for rounding see `training.distributed`). A
change of params.yaml makes DVC run stages again: a new cluster address would pack every clip again, and the
address would be committed with each run.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from slimstream.core.errors import UserError

DASK_VARIABLE, PROCESSES_VARIABLE = "SLIMSTREAM_DASK", "SLIMSTREAM_PROCESSES"
MEETING = "SLIMSTREAM_MEETING"
"""Address of a file (file://…) by which processes of one machine find each other; it is set by the one that
starts them. Without it they use torchrun's address."""


def dask_address() -> str | None:
    """Address of the Dask scheduler, such as tcp://host:8786; None to use this machine."""
    return os.environ.get(DASK_VARIABLE) or None


def training_processes() -> int:
    """Number of processes of this machine that train together. Raises UserError for an invalid value."""
    said = os.environ.get(PROCESSES_VARIABLE) or "1"
    if not said.isascii() or not said.isdigit() or int(said) < 1:
        raise UserError(f"{PROCESSES_VARIABLE} is {said!r}; it must be a number of processes, 1 or more.")
    return int(said)


@contextmanager
def restored_environment(names: Sequence[str]) -> Iterator[None]:
    """Give the environment variables `names` the values from before the block again at its end."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
