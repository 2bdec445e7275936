"""Flow runs and the end of their worker: what `down` interrupts goes on after the next `up`."""

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
    """The runs that the worker has begun and not ended."""
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter

    begun = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PENDING", "RUNNING"]}}})
    pool = WorkPoolFilter.model_validate({"name": {"any_": [POOL]}})
    with client(env) as prefect:
        return [run.id for run in prefect.read_flow_runs(flow_run_filter=begun, work_pool_filter=pool)]


def reschedule(env: Mapping[str, str], runs: Iterable[UUID]) -> list[str]:
    """Let runs whose processes are gone begin again when there is a worker; returns their names.

    One that ended well, failed or was cancelled meanwhile stays as it is.
    """
    from prefect.states import AwaitingRetry, Crashed

    told = []
    with client(env) as prefect:
        for run in runs:
            found = prefect.read_flow_run(run)
            if found.state.is_final() and not found.state.is_crashed():
                continue
            # By itself the second state would leave the deployment's slot taken: it is forced.
            prefect.set_flow_run_state(run, Crashed(message="Interrupted by `make down`."))
            again: Any = AwaitingRetry(message="Interrupted by `make down`; begins again after `make up`.")
            prefect.set_flow_run_state(run, again, force=True)
            told.append(str(found.name))
    return told
