"""What the Prefect server has to know: the deployments of prefect.yaml and what to do about dead runs."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from flows.services.runs import client
from flows.services.servers import HEARTBEAT
from flows.services.settings import Home
from slimstream.errors import UserError

ZOMBIES = "crash runs without a sign of life"
ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
SILENCE = 3 * HEARTBEAT
"""Seconds after which a flow run that said nothing is taken for dead."""


def deploy(home: Home, env: Mapping[str, str]) -> None:
    """Deploy what prefect.yaml lists, unless nothing changed since.

    Deploying again would start a schedule that somebody paused in the UI.
    """
    if not (home.root / "prefect.yaml").exists():
        return
    seen, now = home.folder / "deployed", _digest(home.root)
    if seen.exists() and seen.read_text() == now:
        return
    answer = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=home.root,
        env=dict(env),
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        home.log("deploy").write_text(answer.stdout + answer.stderr)
        raise UserError(f"{home.root / 'prefect.yaml'} could not be deployed; {home.log('deploy')} says why.")
    seen.write_text(now)


def watch_runs(env: Mapping[str, str]) -> None:
    """Make the automation that marks a run Crashed when it is silent, unless there is one of that name.

    A run whose worker and process both died would stay Running for ever and keep its deployment's only slot.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    sign = "prefect.flow-run.heartbeat"
    automation = AutomationCore(
        name=ZOMBIES,
        description="Made by `make up`. Without it the slot of a run that died with its worker stays taken.",
        trigger=EventTrigger(
            after={sign},
            expect={sign, *(f"prefect.flow-run.{end}" for end in ENDS)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENCE),
        ),
        actions=[
            ChangeFlowRunState(state=StateType.CRASHED, message=f"No sign of life for {SILENCE} seconds.")
        ],
    )
    with client(env) as prefect:
        if not prefect.read_automations_by_name(ZOMBIES):
            prefect.create_automation(automation)


def _digest(root: Path) -> str:
    """Of all that a deployment is made from: prefect.yaml and the flows, whose parameters it lists."""
    digest = hashlib.sha256(os.fsencode(root.resolve()))
    for file in [root / "prefect.yaml", *sorted((root / "flows").glob("*.py"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()
