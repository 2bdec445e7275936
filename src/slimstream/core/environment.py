"""On what the work is done. These settings are of a machine, so they are environment variables.

params.yaml says what is made: DVC runs a stage again when its section changes, and packs and trainings are
named after theirs. Where it is made changes no result (`training.distributed` says up to what), and an
address in params.yaml would make every clip be packed again when a cluster moves, and be committed with
each run.
"""

import os

from slimstream.core.errors import UserError

CLUSTER, PROCESSES = "SLIMSTREAM_DASK", "SLIMSTREAM_PROCESSES"


def cluster() -> str | None:
    """Address of the Dask scheduler whose workers extract, such as tcp://host:8786; None: this machine."""
    return os.environ.get(CLUSTER) or None


def processes() -> int:
    """How many processes of this machine share a training. Raises UserError when it is no number."""
    said = os.environ.get(PROCESSES) or "1"
    if not said.isascii() or not said.isdigit() or int(said) < 1:
        raise UserError(f"{PROCESSES} is {said!r}; it must be a number of processes, 1 or more.")
    return int(said)
