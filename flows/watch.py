"""Flows that watch a plant: for new clips at the source, and for a champion whose score has dropped.

Both start a retraining through its deployment, where it waits until a running one has ended.
"""

# mypy: disable-error-code="unused-coroutine"
import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.deployments import run_deployment
from pydantic import Field

from flows import dvc_runner
from flows.announce import RETRAINING
from flows.logs import hide_tracebacks
from flows.retries import DELAYS, is_worth_retrying
from flows.worktree import worktree
from slimstream.core.paths import Paths
from slimstream.registry.champion_check import COMMAND

ROOT = Path(__file__).resolve().parent.parent


@flow(name="ingest-watch", flow_run_name="look for new clips")
def ingest_watch(
    enough: Annotated[int, Field(ge=1)] = 20,
) -> None:
    """Compare the source with the clips of the last run; enough new clips start one retraining.

    Args:
        enough: How many new or changed clips start a retraining.
    """
    with worktree(ROOT, str(runtime.flow_run.id)) as (root, env):
        (*_, said) = run_command("scan", root, env, "--dry-run", "--json")
    found = json.loads(said)
    fresh = sorted([*found["new"], *found["changed"]])
    told = f"{found['source']}: {len(fresh)} new or changed clips, {enough} start a retraining."
    told += "".join(f" {sentence[0].upper()}{sentence[1:]}" for sentence in found["inbox"])
    if len(fresh) >= enough:
        # The same clips must not start a second retraining while the first is running.
        told += " Started." if request_retraining("ingest-watch", *fresh) else " One was asked for already."
    _report(told, "source")


@flow(name="evaluate-champion", flow_run_name="champion on {source}")
def evaluate_champion(
    source: str,
    retrain: bool = True,
) -> None:
    """Evaluate the champion on fresh labelled clips; a score below its interval starts a retraining.

    Args:
        source: Where the fresh labelled clips are, a folder or s3://bucket/prefix.
        retrain: Start a retraining when the score has dropped.
    """
    said = run_command(COMMAND, ROOT, {}, "--source", source)
    health: dict[str, Any] = json.loads(Paths(ROOT).run(COMMAND).read_text())
    if health["dropped"] and retrain:
        request_retraining(COMMAND, health["name"], str(health["version"]), str(health["macro_f1"]))
    _report(said[-1], "champion")


@task(
    cache_policy=NO_CACHE,
    retries=len(DELAYS),
    retry_delay_seconds=DELAYS,
    retry_condition_fn=is_worth_retrying,
)
def run_command(name: str, root: Path, env: dict[str, str], *options: str) -> list[str]:
    """Run a slimstream command; returns the last lines of its output.

    If it fails, the flow fails with its message.
    """
    hide_tracebacks()
    logger = get_run_logger()
    return dvc_runner.run([sys.executable, "-m", "slimstream", name, *options], root, logger.info, name, env)


def request_retraining(*because: str) -> bool:
    """Start a retraining; returns False if one for the same reasons `because` waits or runs already.

    One that has come to its end, well or not, does not count: the reasons are there again.
    """
    reasons, asked = list(because), datetime.now(UTC)
    while True:
        reason = hashlib.sha256("\n".join(reasons).encode()).hexdigest()[:16]
        key = f"{because[0]}-{reason}"
        run: Any = run_deployment(RETRAINING, timeout=0, idempotency_key=key, as_subflow=False)
        if run.state is None or not run.state.is_final():
            return run.created is None or run.created >= asked
        reasons.append(str(run.id))


def _report(sentence: str, key: str) -> None:
    get_run_logger().info(sentence)
    create_markdown_artifact(sentence, key=key)
