"""Result of a run: its table and pictures on the run's page in Prefect, and the summary in the terminal."""

# mypy: disable-error-code="unused-coroutine"
# Prefect declares its artifact functions as coroutines, but they are coroutines in an event loop only.
import json
import os
from collections.abc import Mapping
from shlex import quote
from typing import Any

import pandas as pd
from prefect.artifacts import create_image_artifact, create_link_artifact, create_markdown_artifact

from flows import pictures
from flows.announce import announce
from slimstream.core.paths import Paths
from slimstream.stages.evaluate.model_rows import text_table
from slimstream.tracking.address import tracking_uri
from slimstream.tracking.errors import without_password


def model_table(paths: Paths) -> list[dict[str, str]]:
    """The rows of the table, one per model, from metrics/evaluate.json."""
    return text_table(json.loads(paths.metrics("evaluate").read_text()))


def publish_artifacts(paths: Paths) -> None:
    """Create Prefect artifacts: table and picture of the models, confusion matrix, link to the report."""
    if not paths.metrics("evaluate").exists():
        return
    outcome = _outcome(paths)
    if outcome and (outcome["changed"] or not outcome["promoted"]):
        announce("promoted" if outcome["promoted"] else "refused", " ".join(verdict_sentences(outcome)))
    create_markdown_artifact(
        "\n\n".join([_markdown(model_table(paths)), *verdict_sentences(outcome)]),
        key="models",
        description="Models compared",
    )
    create_image_artifact(
        pictures.front(paths), key="front", description="Macro-F1 on the test clips over time and size"
    )
    if paths.confusion.exists() and (matrix := pictures.confusion(paths)):
        create_image_artifact(matrix, key="confusion", description="The model to publish on the test clips")
    if outcome and outcome["run_url"]:  # MLflow keeps the report when this checkout is removed
        create_link_artifact(
            outcome["run_url"],
            link_text="model, numbers and report in MLflow",
            key="mlflow",
            description="The run of this pipeline in MLflow",
        )
    else:
        create_link_artifact(paths.report.resolve().as_uri(), link_text="report", key="report")


def verdict_sentences(outcome: Mapping[str, Any]) -> list[str]:
    """The verdict of publish; `outcome` is the content of its run file."""
    return list(outcome["sentences"]) if outcome else ["Nothing was published."]


def summary(paths: Paths) -> str:
    """The summary for the terminal: table of models, outcome of publish, and where to look further."""
    rows = pd.DataFrame(model_table(paths))
    api = os.environ.get("PREFECT_API_URL", "").removesuffix("/api")
    uri = without_password(tracking_uri(paths))
    mlflow = uri if uri.startswith("http") else f"mlflow server --workers 1 --backend-store-uri {quote(uri)}"
    return "\n".join(
        [
            "",
            rows.to_string(index=False),
            "",
            *verdict_sentences(_outcome(paths)),
            "",
            f"Report      open {paths.report}",
            f"MLflow UI   {mlflow}",
            f"Prefect UI  {api or f'{_prefect()} prefect server start'}",
        ]
    )


def _outcome(paths: Paths) -> dict[str, Any]:
    file = paths.run("publish")
    return dict(json.loads(file.read_text())) if file.exists() else {}


def _markdown(rows: list[dict[str, str]]) -> str:
    titles = list(rows[0]) if rows else []
    lines = [titles, ["---"] * len(titles), *([row[title] for title in titles] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _prefect() -> str:
    """Environment variables, as shell text, for a Prefect server that shows the runs of this folder."""
    names = ["PREFECT_HOME"]
    if "?" in os.environ["PREFECT_HOME"]:  # otherwise it may be set by the user and contain a password
        names.append("PREFECT_SERVER_DATABASE_CONNECTION_URL")
    return " ".join(f"{name}={quote(os.environ[name])}" for name in names)
