"""Settings, metrics and data sets as MLflow's client takes them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from slimstream.pipeline.params import Params

PARAMS = 100
"""Settings in one request; MLflow takes no more."""


def log_settings(client: Any, run_id: str, settings: Mapping[str, Any]) -> None:
    """Record `settings` with a run, nested ones as "fit.lr"."""
    known = [_param(name, value) for name, value in flatten(settings)]
    for start in range(0, len(known), PARAMS):
        client.log_batch(run_id, params=known[start : start + PARAMS])


def flatten(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`{"fit": {"lr": 0.1}}` as `("fit.lr", "0.1")`."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value)


def metric(name: str, value: float, timestamp: int, step: int = 0) -> Any:
    """A value of a metric at `timestamp`, in ms since 1970."""
    from mlflow.entities import Metric

    return Metric(name, value, timestamp, step)


def dataset_name(params: Params) -> str:
    """The name of the data set in MLflow: the last part of its location."""
    return params.ingest.source.rstrip("/").rpartition("/")[-1] or "clips"


def dataset_digest(split: Mapping[str, Any]) -> str:
    """The split hash, cut to the 36 characters of MLflow's field."""
    return str(split["hash"])[:36]


def dataset(params: Params, split: Mapping[str, Any]) -> Any:
    """The data set of a run, from the content of data/split.json."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": params.ingest.source})
    profile = json.dumps({"clips": split.get("counts"), "groups": split.get("groups")})
    return DatasetInput(
        Dataset(dataset_name(params), dataset_digest(split), "local", source, profile=profile[:16_000_000]),
        tags=[InputTag("mlflow.data.context", "split")],
    )


def _param(name: str, value: str) -> Any:
    from mlflow.entities import Param

    return Param(name, value[:6000])
