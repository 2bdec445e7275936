"""Flow runs at the end of their worker: runs that `down` interrupts start again after the next `up`."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from infra.services.servers import POOL


@contextmanager
def client(env: Mapping[str, str]) -> Iterator[Any]:
    """Prefect's client for the server that `env` names."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    ours = {
        PREFECT_API_URL: env["PREFECT_API_URL"],
        PREFECT_API_AUTH_STRING: env["PREFECT_API_AUTH_STRING"],
    }
    with temporary_settings(ours), get_client(sync_client=True) as found:
        yield found


def running(env: Mapping[str, str]) -> list[UUID]:
    """The runs that the worker has started and that have not ended."""
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter

    begun = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PENDING", "RUNNING"]}}})
    pool = WorkPoolFilter.model_validate({"name": {"any_": [POOL]}})
    with client(env) as prefect:
        return [run.id for run in prefect.read_flow_runs(flow_run_filter=begun, work_pool_filter=pool)]


def reschedule(env: Mapping[str, str], runs: Iterable[UUID]) -> list[str]:
    """Schedule runs again whose processes have ended; returns their names.

    Runs that have completed, failed or been cancelled in the meantime are not changed.
    """
    from prefect.states import AwaitingRetry, Crashed

    told = []
    with client(env) as prefect:
        for run in runs:
            found = prefect.read_flow_run(run)
            if found.state.is_final() and not found.state.is_crashed():
                continue
            # Two states: the first frees the deployment's concurrency slot, the second must be forced.
            prefect.set_flow_run_state(run, Crashed(message="Interrupted by `make down`."))
            again: Any = AwaitingRetry(message="Interrupted by `make down`; begins again after `make up`.")
            prefect.set_flow_run_state(run, again, force=True)
            told.append(str(found.name))
    return told
