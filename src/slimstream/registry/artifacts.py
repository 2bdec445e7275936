"""The deployed form in MLflow: logged with all it needs, and asked as a stranger would ask it."""

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

from slimstream.core.errors import UserError
from slimstream.runtimes import RUNTIMES, find_runtime
from slimstream.tracking.errors import plain_words

PARITY = 1e-4
"""Largest difference of a probability between the deployed form and what evaluate measured."""
REQUIREMENTS = (
    "av",
    "mlflow",
    "numpy",
    "opencv-python",
    "pandas",
    "pydantic",
    "ruamel.yaml",
)
"""What predict needs beside the package and the runtimes; pinned to what is installed here. No torch."""


def log_model(uri: str, name: str, run_id: str, files: Mapping[str, bytes]) -> Any:
    """Log `files` with the serving code as a pyfunc and register it as `name`; returns MLflow's ModelInfo."""
    import mlflow

    package = Path(__file__).parents[1]
    with _store(uri), tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_id=run_id):
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        code = Path(folder) / package.name
        shutil.copytree(package, code, ignore=shutil.ignore_patterns("__pycache__"))
        return mlflow.pyfunc.log_model(
            name=name,
            python_model=str(package / "serving/pyfunc.py"),
            artifacts={file: str(Path(folder) / file) for file in files},
            code_paths=[str(code)],
            pip_requirements=[f"{package}=={version(package)}" for package in requirements()],
            registered_model_name=name,
        )


def requirements() -> list[str]:
    """The packages that a registered version needs, whichever of its forms is asked."""
    needed = {package for runtime in RUNTIMES.values() for package in runtime.packages}
    return sorted(needed.union(REQUIREMENTS))


def read_artifact(uri: str, model_uri: str, file: str) -> dict[str, Any]:
    """The JSON `file` that was logged with a model. Raises UserError when it cannot be had."""
    import mlflow

    with _store(uri), _files_of(model_uri):
        return dict(mlflow.artifacts.load_dict(f"{model_uri}/artifacts/{file}"))


def download(uri: str, model_uri: str, target: Path) -> Path:
    """All files that were logged with a model, in a folder of `target`.

    Raises UserError when they cannot be had.
    """
    import mlflow

    with _store(uri), _files_of(model_uri):
        return Path(mlflow.artifacts.download_artifacts(f"{model_uri}/artifacts", dst_path=str(target)))


@contextmanager
def _files_of(model_uri: str) -> Iterator[None]:
    """Files that are gone are told with the place where MLflow says they are."""
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
    """What each model says of the files, in order: one frame a model as `serving.pyfunc` returns it.

    Each model runs in a process of its own, all at the same time: only there it runs the code it was logged
    with, not today's. Raises RuntimeError with the end of the error output when one cannot.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "files.json"
        asked.write_text(json.dumps([str(file.resolve()) for file in files]))
        answers = [Path(folder) / f"{i}.parquet" for i in range(len(model_uris))]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_REGISTRY_URI": uri, "TQDM_DISABLE": "1"}
        # Whatever the caller's environment allows: a pickle in the registry could run anything here.
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
        return [pd.read_parquet(answer) for answer in answers]


# Copied first: MLflow does not read a model in a folder with a # or a % in its path.
_SCORE = """
import json, sys, mlflow
folder = mlflow.artifacts.download_artifacts(sys.argv[1], dst_path=sys.argv[3] + ".model")
model = mlflow.pyfunc.load_model(folder)
model.predict(json.load(open(sys.argv[2]))).to_parquet(sys.argv[3])
"""


def check_parity(ids: pd.Series, answers: pd.DataFrame, predictions: pd.DataFrame, runtime: str) -> None:
    """The deployed form must say what evaluate measured; anything else is our bug, not a matter of policy.

    `answers` are in the order of `ids`; `predictions` are evaluate's for this model: id and p_<class>, a row
    a clip. Of a file that was cut into several clips the deployed form gives the mean. Raises UserError where
    `runtime` rounds as the processor does, and evaluate may have run on another.
    """
    columns = [str(column) for column in answers if str(column).startswith("p_")]
    measured = predictions.groupby("id")[columns].mean().loc[ids].to_numpy()
    off = float(np.abs(answers[columns].to_numpy() - measured).max())
    if off > PARITY and not find_runtime(runtime).exact:
        raise UserError(
            f"{runtime} answers {off:.2g} otherwise here than where evaluate asked it: publish on that kind "
            "of processor, or `dvc repro --force --single-item export evaluate` on this one first."
        )
    if not off <= PARITY:  # nan, a clip without an answer, is off too
        raise RuntimeError(
            f"the deployed form is {off:.2g} off the probabilities evaluate measured; {PARITY:g} is allowed"
        )


@contextmanager
def _store(uri: str) -> Iterator[None]:
    """MLflow's module functions look at a global, which leaks into the environment: put it back.

    What goes wrong meanwhile is said in plain words.
    """
    import mlflow

    before = {key: os.environ.get(key) for key in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        with plain_words(uri):
            yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
