"""The flow from a source to a champion: scan, every stage of dvc.yaml, publish.

    python -m flows.retrain --recipe tank --source ../clips

Prefect shows and schedules the runs, DVC decides which stages have to run: each stage is one task, which runs
one `dvc repro` as a process. Without PREFECT_API_URL a temporary server runs as long as the flow.
"""

# mypy: disable-error-code="unused-coroutine"
# Prefect declares a task that returns Any as a coroutine as well.
import argparse
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed
from prefect.tasks import Task

from flows import SERVER_STARTS, dvc_runner
from flows import recipe as recipes
from flows.choices import KEEP, Recipe, Text
from flows.logs import hide_tracebacks
from flows.outcome import publish_artifacts, summary
from flows.retries import DELAYS, is_worth_retrying
from flows.servers import use_own_servers
from flows.worktree import commit, worktree
from slimstream.core.errors import UserError, system_error
from slimstream.core.files import locked
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params, load_params

ROOT = recipes.ROOT
TEMPORARY_SERVER = {
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    # Otherwise the server of `make up` would believe that they are registered.
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}
"""Environment of the temporary server: it registers no blocks, which takes seconds and no flow uses."""
_started_ahead: dict[str, subprocess.Popen[str]] = {}
"""Commands that run already while the temporary server starts, by the task that waits for them."""


@task(
    cache_policy=NO_CACHE,
    retries=len(DELAYS),
    retry_delay_seconds=DELAYS,
    retry_condition_fn=is_worth_retrying,
)
def run_stage(
    name: str, root: Path, env: dict[str, str], force: bool = False, options: tuple[str, ...] = ()
) -> Any:
    """Run a stage by `dvc repro`, which decides whether it has to run, or run scan, publish or push."""
    log_line = _line_logger()
    if name in ("scan", "publish"):
        if process := _started_ahead.pop(name, None):
            dvc_runner.follow(process, log_line, name)
        else:
            dvc_runner.run(_command(name, *options), root, log_line, name, env)
        return Completed(message="done")
    if name == "push":
        if remote := dvc_runner.push(root, log_line, env):
            return Completed(message=f"all data of the run is in the DVC remote '{remote}'")
        return Completed(message="no DVC remote is configured: the data stays on this box", name="Skipped")
    what = dvc_runner.repro(name, root, log_line, force, **env)
    return Completed(message=f"{name}: {what}", name={"ran": "Completed"}.get(what, what.capitalize()))


@flow(name="retrain", log_prints=False)
def retrain(
    recipe: Recipe = KEEP,
    force: bool = False,
    promote: bool = True,
    source: Text = "",
    isolated: bool = False,
) -> None:
    """Bring the model up to date with its source and settings, and promote it if the gate lets it pass.

    Args:
        recipe: The settings that become params.yaml: a file of recipes/, or auto, which looks at the clips
            and needs their source. The choice params.yaml leaves that file as it is.
        force: Run every stage, even if nothing has changed for it.
        promote: Let the gate make the new version the champion; otherwise it is only registered.
        source: Where the clips are, a folder or s3://bucket/prefix. Empty: as params.yaml says.
        isolated: Work in a checkout of its own, as a schedule does: leave a branch runs/ID, with the ID of
            the run, and push the data to the DVC remote, if there is one.
    """
    hide_tracebacks()
    run_id = str(runtime.flow_run.id)
    if not isolated:
        with _only_run():
            dvc_runner.configure_scm(ROOT, _line_logger())
            return _pipeline(ROOT, {}, run_id, recipe, source, force, promote, lambda name: None)
    with worktree(ROOT, run_id) as (root, env):

        def keep(name: str) -> None:
            commit(root, f"Retrain {name}\n\nPrefect flow run {run_id}")

        _pipeline(root, env, run_id, recipe, source, force, promote, keep)
        # Last: if it fails, the run still has its branch and its version.
        _task("push")("push", root, env)


def _pipeline(
    root: Path,
    env: dict[str, str],
    run_id: str,
    recipe: str | None,
    source: str | None,
    force: bool,
    promote: bool,
    before_publish: Callable[[str], object],
) -> None:
    env = {**env, "SLIMSTREAM_FLOW_RUN_ID": run_id}
    paths = Paths(root)
    recipes.apply_recipe(paths, None if recipe == KEEP else recipe, source or None, Paths(ROOT))
    settings = paths.params.read_bytes()
    name = _name_run(load_params(paths.params))
    with ThreadPoolExecutor(1) as pool:
        # DVC takes seconds to start, so it runs during the scan.
        stages = pool.submit(dvc_runner.stages, root)
        _task("scan")("scan", root, env)
    for stage in stages.result():
        _check_unchanged(paths, settings)
        _task(stage)(stage, root, env, force)
    _check_unchanged(paths, settings)
    before_publish(name)
    _task("publish")("publish", root, env, options=() if promote else ("--no-promote",))
    publish_artifacts(paths)


def _only_run() -> AbstractContextManager[int]:
    """Hold the lock of this checkout: two runs in it would overwrite each other's params.yaml and models."""
    return locked(
        ROOT / ".slimstream/run",
        "Another run is under way in this folder: wait until it ends, or work in a checkout of its own "
        "(--isolated).",
    )


def _check_unchanged(paths: Paths, settings: bytes) -> None:
    """Raise UserError when params.yaml no longer holds `settings`: stages would mix old and new ones."""
    if paths.params.read_bytes() != settings:
        raise UserError(
            f"{paths.params} was changed while this run was under way, which would mix old and new settings. "
            "What is finished stays; run again to go on with those of today."
        )


def _name_run(params: Params) -> str:
    """Name the run after its recipe and source, which are known once params.yaml is; returns the name."""
    name = f"{params.recipe} on {params.ingest.source}"
    with get_client(sync_client=True) as client:
        client.update_flow_run(runtime.flow_run.id, name=name)
    return name


def _command(name: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "slimstream", name, *options]


def _task(name: str) -> "Task[..., Any]":
    return run_stage.with_options(name=name, task_run_name=name)


def _line_logger() -> Callable[[str], None]:
    logger = get_run_logger()
    return lambda line: logger.log(logging.INFO, line)


def main(argv: list[str] | None = None) -> int:
    """Run the flow.

    Returns 0 for success, 2 for a mistake of the user, 3 when a service did not answer or was busy after all
    retries, 130 if interrupted, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m flows.retrain", description=_first_line(retrain.__doc__))
    parser.add_argument("--recipe", help="a file of recipes/ (without .yaml), or auto")
    parser.add_argument("--source", help="where the clips are: a folder, s3://bucket/prefix or a plant")
    parser.add_argument("--force", action="store_true", help="run every stage although nothing changed")
    parser.add_argument("--no-promote", action="store_true", help="register, but leave the champion alone")
    parser.add_argument(
        "--isolated", action="store_true", help="work in a checkout of its own, on a branch runs/<id>"
    )
    args = parser.parse_args(argv)
    # SIGTERM has the effect of an interrupt, which also ends the temporary server.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        use_own_servers(Paths(ROOT))
        if not args.isolated:  # mistakes are reported before a server is started
            with _only_run():
                recipes.apply_recipe(Paths(ROOT), args.recipe, args.source)
                recipes.check_clips(Paths(ROOT))
        if not PREFECT_API_URL.value():
            os.environ |= TEMPORARY_SERVER
            print(
                "Starting a Prefect server for this run; the first time that takes up to a minute …",
                flush=True,
            )
        with ExitStack() as ahead:
            if not args.isolated and not PREFECT_API_URL.value():
                # The server takes longer than the scan, and a second core would wait for it.
                _started_ahead["scan"] = ahead.enter_context(dvc_runner.started(_command("scan"), ROOT))
                ahead.callback(_started_ahead.clear)
            # Once applied, a recipe would look at the clips a second time.
            recipe = args.recipe if args.isolated else None
            retrain(recipe, args.force, not args.no_promote, args.source, args.isolated)
    except (UserError, dvc_runner.StageFailed) as error:
        print(f"\nretrain: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"\nretrain: {system_error(error, ROOT)}; mend it and run again.", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if "ephemeral Prefect API server" not in str(error):  # Prefect has no class for it
            raise
        print(
            f"\nretrain: Prefect's server did not start within {SERVER_STARTS // 60} minutes, because this "
            "machine is busy. Run it again later, or start a server that stays: `make up`.",
            file=sys.stderr,
        )
        return 3
    except KeyboardInterrupt:
        print("\nretrain: interrupted; run it again to go on where it stopped.", file=sys.stderr)
        return 130
    if not args.isolated:
        print(summary(Paths(ROOT)))
    return 0


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
