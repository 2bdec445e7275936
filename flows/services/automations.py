"""What the Prefect server does by itself about flow runs whose processes died."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flows.services.runs import client
from flows.services.servers import HEARTBEAT

if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore

SILENT = "crash runs without a sign of life"
NEVER_BEGAN = "begin again runs that never began"
SILENCE = 3 * HEARTBEAT
"""Seconds after which a flow run that said nothing is taken for dead, or one that was to begin for lost."""
ENDS = ("Completed", "Failed", "Cancelled", "Crashed")


def ensure(env: Mapping[str, str]) -> None:
    """Make the automations, unless there are some of that name: what was changed in the UI stays.

    Without them a run whose worker and process died together stays Running, or Pending, for ever.
    """
    with client(env) as prefect:
        for automation in (silent(), never_began()):
            if not prefect.read_automations_by_name(automation.name):
                prefect.create_automation(automation)


def silent() -> "AutomationCore":
    """A run that begins says so every HEARTBEAT seconds; when it stops before its end, it crashed."""
    sign = "heartbeat"
    return _unless(SILENT, [sign], [sign, *ENDS], "CRASHED", f"No sign of life for {SILENCE} seconds.")


def never_began() -> "AutomationCore":
    """A run whose worker died between taking and beginning it stays Pending: let the next one take it."""
    message = f"Taken by a worker and not begun within {SILENCE} seconds."
    expected = ["Running", "Scheduled", "AwaitingRetry", "AwaitingConcurrencySlot", *ENDS]
    return _unless(NEVER_BEGAN, ["Pending", "Submitting"], expected, "SCHEDULED", message)


def _unless(name: str, after: list[str], expect: list[str], state: Any, message: str) -> "AutomationCore":
    """Give a run `state` when none of the events `expect` follow `after` within SILENCE seconds."""
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    return AutomationCore(
        name=name,
        description="Made by `make up`, and again when it is missing.",
        trigger=EventTrigger(
            after={f"prefect.flow-run.{event}" for event in after},
            expect={f"prefect.flow-run.{event}" for event in expect},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENCE),
        ),
        actions=[ChangeFlowRunState(state=state, message=message)],
    )
