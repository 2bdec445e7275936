"""The exported model in MLflow: log it with its code, download it, run it in a separate process."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from slimstream.catalog.names import UNKNOWN
from slimstream.core.environment import restored_environment
from slimstream.core.errors import UserError
from slimstream.runtimes import RUNTIMES, find_runtime
from slimstream.tracking.errors import explain_mlflow_errors

PARITY_TOLERANCE = 1e-4
"""Largest allowed difference of a probability between the registered model and evaluate."""
REQUIREMENTS = (
    "av",
    "mlflow",
    "numpy",
    "opencv-python",
    "pandas",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
)
"""Packages that predict needs besides slimstream and the runtimes, pinned to the installed versions."""


def register_model(
    uri: str, name: str, run_id: str, files: Mapping[str, bytes], tags: Mapping[str, str]
) -> int:
    """Log `files` and the serving code as a pyfunc, register it as `name` with `tags`; return its version.

    A version has its tags from the beginning: by them it is found again, should this process be killed.
    """
    import mlflow

    package = Path(__file__).parents[1]
    with _use_store(uri), tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_id=run_id):
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        code = Path(folder) / package.name
        shutil.copytree(package, code, ignore=shutil.ignore_patterns("__pycache__"))
        logged = mlflow.pyfunc.log_model(
            name=name,
            python_model=str(package / "serving/pyfunc.py"),
            artifacts={file: str(Path(folder) / file) for file in files},
            code_paths=[str(code)],
            pip_requirements=[f"{package}=={version(package)}" for package in requirements()],
            input_example=["clip.mp4"],
        )
        return int(mlflow.register_model(logged.model_uri, name, tags=dict(tags)).version)


def requirements() -> list[str]:
    """The packages that a registered version needs, whichever of its forms is asked."""
    needed = {package for runtime in RUNTIMES.values() for package in runtime.packages}
    return sorted(needed.union(REQUIREMENTS))


def read_artifact(uri: str, model_uri: str, file: str) -> dict[str, Any]:
    """Read the JSON `file` that was logged with a model. Raises UserError when it is not available."""
    import mlflow

    with _use_store(uri), _files_of(model_uri):
        return dict(mlflow.artifacts.load_dict(f"{model_uri}/artifacts/{file}"))


def download(uri: str, model_uri: str, target: Path) -> Path:
    """Download all files that were logged with a model; return their folder below `target`.

    Raises UserError when they are not available.
    """
    import mlflow

    with _use_store(uri), _files_of(model_uri):
        return Path(mlflow.artifacts.download_artifacts(f"{model_uri}/artifacts", dst_path=str(target)))


@contextmanager
def _files_of(model_uri: str) -> Iterator[None]:
    """Raise UserError for missing files, with the place where MLflow expects them."""
    import mlflow
    from requests import HTTPError

    try:
        yield
    except (mlflow.exceptions.MlflowException, OSError, HTTPError) as error:
        said = str(error)
        if not re.search(
            r"No such (artifact|file)|error code 404|404 Client Error|NoSuchKey|Not Found", said
        ):
            raise
        name, version = model_uri.removeprefix("models:/").split("/")
        place = mlflow.MlflowClient().get_model_version_download_uri(name, version)
        raise UserError(
            f"{name} version {version} is registered, but its files are not in {place}; put them back there, "
            "or delete the version."
        ) from error


def score_clips(uri: str, model_uris: Sequence[str], files: Sequence[Path]) -> list[pd.DataFrame]:
    """Predict `files` with each model; return one data frame per model, in the format of `serving.pyfunc`.

    Where a version answers `unknown`, `label` is its most probable class: it is compared with versions that
    do not know this answer. Each model runs in its own process, so it uses the code that was logged with it.
    All run at the same time.
    Raises RuntimeError with the end of the error output when a process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "files.json"
        asked.write_text(json.dumps([str(file.resolve()) for file in files]))
        answers = [Path(folder) / f"{i}.parquet" for i in range(len(model_uris))]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_REGISTRY_URI": uri, "TQDM_DISABLE": "1"}
        # Always off: a pickle from the registry could run arbitrary code.
        environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _SCORE, model_uri, asked, answer],
                env=environment,
                cwd=folder,
                stderr=subprocess.PIPE,
                text=True,
            )
            for model_uri, answer in zip(model_uris, answers, strict=True)
        ]
        try:
            for process, model_uri in zip(processes, model_uris, strict=True):
                _, errors = process.communicate()
                if process.returncode:
                    raise RuntimeError(f"{model_uri} cannot be asked: {errors.strip()[-2000:]}")
        finally:
            for process in processes:
                process.kill()
        return [with_classes(pd.read_parquet(answer)) for answer in answers]


def with_classes(answers: pd.DataFrame) -> pd.DataFrame:
    """The table `answers` with the most probable class as `label` where it is UNKNOWN."""
    unknown = answers["label"] == UNKNOWN
    if not unknown.any():
        return answers
    of_classes = answers.loc[unknown, [c for c in answers if str(c).startswith("p_")]]
    named = of_classes.idxmax(axis=1).astype(str).str.removeprefix("p_")
    return answers.assign(label=answers["label"].mask(unknown, named))


# The model is copied first, because MLflow cannot load from a path that contains # or %.
_SCORE = """
import json, sys, mlflow
folder = mlflow.artifacts.download_artifacts(sys.argv[1], dst_path=sys.argv[3] + ".model")
model = mlflow.pyfunc.load_model(folder)
model.predict(json.load(open(sys.argv[2]))).to_parquet(sys.argv[3])
"""


def check_parity(ids: pd.Series, answers: pd.DataFrame, predictions: pd.DataFrame, runtime: str) -> None:
    """Check that the registered model gives the same probabilities as in the evaluate stage.

    `answers` are in the order of `ids`; `predictions` are evaluate's for this model, one row per clip with
    `id` and `p_<class>`. For a file with several clips the mean over its clips is compared. Raises UserError
    when `runtime` depends on the processor and evaluate may have run on another one, else RuntimeError.
    """
    columns = [str(column) for column in answers if str(column).startswith("p_")]
    measured = predictions.groupby("id")[columns].mean().loc[ids].to_numpy()
    off = float(np.abs(answers[columns].to_numpy() - measured).max())
    if off > PARITY_TOLERANCE and not find_runtime(runtime).exact:
        raise UserError(
            f"{runtime} answers {off:.2g} otherwise here than where evaluate asked it: publish on that kind "
            "of processor, or `dvc repro --force --single-item export evaluate` on this one first."
        )
    if not off <= PARITY_TOLERANCE:  # also for nan, a clip without prediction
        raise RuntimeError(
            f"the deployed form is {off:.2g} off the probabilities evaluate measured; "
            f"{PARITY_TOLERANCE:g} is allowed"
        )


@contextmanager
def _use_store(uri: str) -> Iterator[None]:
    """Set MLflow's global tracking and registry URIs to `uri`, and restore the environment afterwards.

    Errors of MLflow become UserError or Unavailable.
    """
    import mlflow

    with restored_environment(("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")):
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        with explain_mlflow_errors(uri):
            yield
