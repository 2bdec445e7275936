"""Sensor logs made up: AR(1) sensors whose mean depends on the plant's state."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from slimstream.sensors.log import SensorLogs, read_logs
from slimstream.sensors.settings import SensorRecipe


def simulated_table(
    states: Sequence[str],
    rows: int = 200,
    sensors: int = 4,
    shift: float = 3.0,
    ar: float = 0.9,
    seed: int = 0,
) -> pd.DataFrame:
    """`rows` rows of each of `states` in turn; the k-th state (by name) shifts the k-th sensor by `shift`."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.array(states), rows)
    noise = rng.normal(size=(len(label), sensors)) * np.sqrt(1 - ar**2)
    values = np.empty_like(noise)
    values[0] = noise[0]
    for row in range(1, len(label)):
        values[row] = ar * values[row - 1] + noise[row]
    for number, state in enumerate(sorted(set(states))):
        values[label == state, number % sensors] += shift
    named = {f"s{number}": values[:, number] for number in range(sensors)}
    return pd.DataFrame({"t": np.arange(len(label), dtype=float), **named, "state": label})


def write_log(frame: pd.DataFrame, folder: Path, name: str = "log.csv") -> Path:
    path = folder / name
    frame.to_csv(path, index=False)
    return path


def settings(**changes: object) -> SensorRecipe:
    """Windows of 10 rows every 5 in blocks of 50, for logs of `simulated_table`."""
    usual: dict[str, object] = {"label": "state", "time": "t", "window": 10, "step": 5, "block": 50}
    small = {"random_forest": {"trees": 20, "leaf": [3]}, "svm": {"c": [1, 10], "gamma": [0.3]}}
    return SensorRecipe.model_validate(usual | small | changes)


def read_log(frame: pd.DataFrame, folder: Path, p: SensorRecipe) -> SensorLogs:
    return read_logs([write_log(frame, folder)], p)
