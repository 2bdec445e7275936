"""Automations of the Prefect server: for runs whose processes died, for alerts, for cameras that drift."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from flows.announce import EVENTS, RETRAINING
from infra.services.runs import client
from slimstream.tracking.servers import HEARTBEAT
from slimstream.watch.drift.kinds import KINDS, PREFECT
from slimstream.watch.secrets import WEBHOOK

if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

SILENT = "crash runs without a sign of life"
NEVER_BEGAN = "begin again runs that never began"
ALERTS = ("alert: a run failed", "alert: the champion", "alert: cameras drift")
RETRAIN = "retrain: cameras drift"
ENOUGH, WITHIN = 3, timedelta(days=3)
"""So many events of `watch` within so long ask for a retraining; a drift that lasts is told once a day."""
BLOCK = "slimstream-alerts"
SILENCE = 3 * int(*HEARTBEAT.values())
"""Seconds after which a running flow run without heartbeat, or a pending one that did not start, is lost."""
ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
# The key `text` is supported by Slack, Mattermost, Google Chat and most other receivers.
FAILED = """{"text": {{ (
    flow.name ~ " " ~ flow_run.name ~ " " ~ flow_run.state.name ~ ": " ~ (flow_run.state.message or "")
    ~ " " ~ (flow_run|ui_url)
) | tojson }}}"""
CHAMPION = """{"text": {{ event.payload.text | tojson }}}"""
DRIFTS = """{"text": {{ (
    "Cameras no longer show what they showed before; a retraining has been asked for. The last one: "
    ~ event.payload.text
) | tojson }}}"""


def ensure_automations(env: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    """Create the automations that do not exist by name, so that changes made in the UI are kept.

    Without the first two, a run whose worker and process died together stays Running or Pending for ever.
    The alerts exist as long as secrets.env has a webhook.
    """
    with client(env) as prefect:
        wanted = [silent(), never_began()]
        if url := secrets.get(WEBHOOK):
            wanted += alerts(_block(url))
        else:
            for name in ALERTS:
                for automation in prefect.read_automations_by_name(name):
                    prefect.delete_automation(automation.id)
        for automation in wanted:
            if not prefect.read_automations_by_name(automation.name):
                prefect.create_automation(automation)


def ensure_retraining(env: Mapping[str, str]) -> None:
    """Create the automation RETRAIN if it does not exist by name, and there is what it starts."""
    from prefect.exceptions import ObjectNotFound

    with client(env) as prefect:
        if prefect.read_automations_by_name(RETRAIN):
            return
        try:
            deployment = prefect.read_deployment_by_name(RETRAINING)
        except ObjectNotFound:
            return
        prefect.create_automation(retrain(deployment.id))


def retrain(deployment: UUID) -> "AutomationCore":
    """Runs `deployment` when cameras have drifted ENOUGH times. Not for covered lenses: those are wiped."""
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore

    return AutomationCore(
        name=RETRAIN,
        description=_MADE,
        trigger=_drifts(),
        actions=[RunDeployment(source="selected", deployment_id=deployment)],
    )


def silent() -> "AutomationCore":
    """Sets runs to Crashed that send no heartbeat for SILENCE seconds, three times as long as HEARTBEAT."""
    sign = "heartbeat"
    return _set_state_unless(
        SILENT, [sign], [sign, *ENDS], "CRASHED", f"No sign of life for {SILENCE} seconds."
    )


def never_began() -> "AutomationCore":
    """Schedules runs again that stay Pending, because their worker died before it started them."""
    message = f"Taken by a worker and not begun within {SILENCE} seconds."
    expected = ["Running", "Scheduled", "AwaitingRetry", "AwaitingConcurrencySlot", *ENDS]
    return _set_state_unless(NEVER_BEGAN, ["Pending", "Submitting"], expected, "SCHEDULED", message)


def alerts(block: UUID) -> Iterator["AutomationCore"]:
    """Calls the webhook `block` when a run fails, for events about the champion, and when cameras drift."""
    from prefect.events.actions import CallWebhook
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    failures = EventTrigger(
        expect={f"prefect.flow-run.{end}" for end in ("Failed", "Crashed")},
        # A failed run is reported by its flow, and sometimes a second time by its worker.
        for_each={"prefect.resource.id"},
        within=timedelta(minutes=5),
        posture=Posture.Reactive,
        threshold=1,
    )
    news = EventTrigger(
        expect={f"slimstream.{event}" for event in EVENTS}, posture=Posture.Reactive, threshold=1
    )
    triggers, payloads = (failures, news, _drifts()), (FAILED, CHAMPION, DRIFTS)
    for name, trigger, payload in zip(ALERTS, triggers, payloads, strict=True):
        yield AutomationCore(
            name=name,
            description=_MADE,
            trigger=trigger,
            actions=[CallWebhook(block_document_id=block, payload=payload)],
        )


def _drifts() -> "EventTrigger":
    from prefect.events.schemas.automations import EventTrigger, Posture

    kinds = {PREFECT + kind for kind in KINDS if kind != "covered"}
    return EventTrigger(expect=kinds, posture=Posture.Reactive, threshold=ENOUGH, within=WITHIN)


def _set_state_unless(
    name: str, after: list[str], expect: list[str], state: Any, message: str
) -> "AutomationCore":
    """Give a run `state` when none of the events `expect` follow `after` within SILENCE seconds."""
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    return AutomationCore(
        name=name,
        description=_MADE,
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


def _block(url: str) -> UUID:
    """Store the webhook's address in the server, which encrypts it; returns the block's id."""
    from prefect.blocks.webhook import Webhook

    # It is saved to the server of the open client.
    webhook = Webhook(url=url, headers={"Content-Type": "application/json"})  # type: ignore[arg-type]
    return cast(UUID, webhook.save(BLOCK, overwrite=True))


_MADE = "Made by `make up`, and again when it is missing."
