"""Overhead of the workflow: start, a `dvc repro` with nothing to do, and (with --demo) a whole run."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.compare import Result, ratio_result, seconds
from slimstream.pipeline.stages import STAGES

ROOT = Path(__file__).parents[1]


def run(demo: bool = False) -> list[Result]:
    python = [sys.executable]
    module = [*python, "-m", "slimstream"]
    results = [
        absolute("start", "import slimstream", [*python, "-c", "import slimstream.__main__"], ROOT, most=1.0),
        absolute("start", "python -m slimstream --help", [*module, "--help"], ROOT, most=1.0),
    ]
    if demo:
        with tempfile.TemporaryDirectory() as folder:
            results += whole_run(Path(folder))
    return results


def whole_run(folder: Path) -> list[Result]:
    """The demo with Prefect, DVC and MLflow against its stages called one after the other, each in a clone.

    The ratio is that of one pair of runs, because a run takes minutes.
    """
    flow, bare = folder / "flow", folder / "bare"
    for clone in (flow, bare):
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)

    def stages() -> None:
        for stage in ("scan", *STAGES, "publish"):
            tracking = {} if stage == "publish" else {"SLIMSTREAM_TRACKING": "off"}
            run_command([sys.executable, "-m", "slimstream", stage], bare, **tracking)

    with_flow = seconds(lambda: run_command([sys.executable, "-m", "flows.retrain", "--recipe", "rig"], flow))
    alone = seconds(stages)
    return [
        ratio_result(
            "workflow",
            "Prefect + DVC + MLflow",
            "the same stages, bare",
            [with_flow / alone],
            most=1.05,
            note=f"the demo, {alone / 60:.1f} minutes bare",
        ),
        absolute("workflow", "dvc repro, nothing to do", [sys.executable, "-m", "dvc", "repro"], flow, 3.0),
    ]


def absolute(part: str, what: str, command: list[str], where: Path, most: float) -> Result:
    """Seconds that `command` takes; `most` is the limit for a person who waits for it."""
    run_command(command, where)
    spent = [seconds(lambda: run_command(command, where)) for _ in range(5)]
    return ratio_result(part, what, "seconds", spent, most=most)


def run_command(command: list[str], where: Path = ROOT, **more: str) -> None:
    """Run `command` in `where`, without servers for MLflow and Prefect; fails if it fails."""
    environment = {**os.environ, "PYTHONPATH": "src", "PREFECT_HOME": str(where / ".prefect"), **more}
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        environment.pop(name, None)
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr[-2000:]}"
