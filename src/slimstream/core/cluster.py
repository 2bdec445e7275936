"""A Dask cluster instead of this machine: how to get hold of one, and what is said when it cannot work."""

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from slimstream.core.errors import UserError

PATIENCE = 30
"""Seconds that the scheduler, and then the first worker, may take to answer."""


@contextmanager
def connected(address: str, *modules: str) -> Iterator[Any]:
    """A `distributed.Client` of the scheduler at `address`, whose workers can import `modules`.

    Raises UserError when scheduler or workers do not answer, cannot import them, or go away meanwhile.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {address}; start one there.") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise UserError(f"the Dask scheduler at {address} has no worker; start some.") from error
        _check_imports(client, ", ".join(modules))
        try:
            yield client
        except (OSError, CancelledError) as error:
            raise UserError(
                f"the Dask scheduler at {address} went away; start it and run again, what is done is kept."
            ) from error


def threads(client: Any) -> int:
    """How many tasks the workers can do at once; at least 1."""
    return max(1, sum(client.nthreads().values()))


def _check_imports(client: Any, modules: str) -> None:
    """A worker that cannot read the name of a function would say so to its own log alone, and wait."""
    for address, error in client.run(exec, f"import {modules}", on_error="return").items():
        if error is not None:
            raise UserError(
                f"the Dask worker {address} cannot import {modules} ({error}): start it in this project's "
                "environment with its src on PYTHONPATH."
            )
