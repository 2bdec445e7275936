"""Connection to a Dask cluster, with a UserError for every way in which it may not work."""

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from slimstream.core.errors import UserError

PATIENCE = 30
"""Seconds to wait for the scheduler, and then for the first worker."""


@contextmanager
def connected(address: str, *modules: str) -> Iterator[Any]:
    """A `distributed.Client` of the scheduler at `address`, whose workers can import `modules`.

    Raises UserError when scheduler or workers do not answer, when a worker cannot import a module, or when
    the connection is lost within the block.
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
    """Number of tasks that the workers can do at once; at least 1."""
    return max(1, sum(client.nthreads().values()))


def _check_imports(client: Any, modules: str) -> None:
    """Raise UserError when a worker cannot import `modules`.

    Without this check such a worker would only write to its own log, and the client would wait for ever.
    """
    for address, error in client.run(exec, f"import {modules}", on_error="return").items():
        if error is not None:
            raise UserError(
                f"the Dask worker {address} cannot import {modules} ({error}): start it in this project's "
                "environment with its src on PYTHONPATH."
            )
