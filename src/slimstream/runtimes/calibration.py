"""Calibrated probabilities, and how unlike a clip is to all clips that a deployed network has learnt from.

The stage export fits both and writes them beside the network; serving and evaluate read them. Importing this
loads no torch.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimstream.core.errors import UserError
from slimstream.runtimes.base import LOGITS, softmax
from slimstream.runtimes.seen import FILE as SEEN

Floats = npt.NDArray[np.floating[Any]]
_NUMBERS, _ARRAYS = "calibration.json", "reference.safetensors"


@dataclass(frozen=True)
class Reference:
    """What the clips look like that a network has learnt from, by their features."""

    centre: Floats
    """(F,) mean of the features."""
    scale: Floats
    """(F,) standard deviation of the features."""
    projection: Floats
    """(F, d), of standardised features; clips of one class then scatter by about 1 in all directions."""
    means: Floats
    """(n, d): the projected mean of each class; NaN for a class without clips."""

    def unlikeness(self, features: Floats, limits: tuple[float, float]) -> npt.NDArray[np.float64]:
        """How unlike features (B, F) are: (B,), 0 or more, above 1 if `turned` or `away` is above its limit.

        It is `away` as a share of its limit. `turned` counts above its limit only: it says nothing of states.
        """
        turned, away = self.turned(features) / limits[0], self.away(features) / limits[1]
        return np.where(turned > 1, np.maximum(turned, away), away)

    def turned(self, features: Floats) -> npt.NDArray[np.float64]:
        """1 - cosine (B,) of the angle of the features to their mean: large for pictures of other things.

        The features are not standardised: differences between two cameras would count as much.
        """
        size = np.linalg.norm(features, axis=1) * np.linalg.norm(self.centre)
        return np.asarray(1 - features @ self.centre / np.maximum(size, 1e-12), np.float64)

    def place(self, features: Floats) -> Floats:
        """Features (B, F) as (B, d), where clips of one class scatter by about 1 in all directions."""
        return np.asarray((features - self.centre) / self.scale @ self.projection)

    def away(self, features: Floats) -> npt.NDArray[np.float64]:
        """Distance (B,) to the nearest class, divided by exp(a): large for states that are none of them.

        It is the Mahalanobis distance with one covariance for all classes (Lee et al. 2018, "A simple unified
        framework for detecting out-of-distribution samples and adversarial attacks"). In a group that was not
        learnt from it is large for all clips. There those of a known class lie in its direction, seen from
        the middle of the classes: `a` is how far along one of these directions, 0 in the middle, 1 at the
        mean of the class, the largest of all.
        """
        means = self.means[np.isfinite(self.means).all(1)]
        x = self.place(features)
        nearest = np.linalg.norm(x[:, None] - means, axis=2).min(1)
        lines = means - means.mean(0)
        along = (x - means.mean(0)) @ (lines / np.maximum((lines**2).sum(1, keepdims=True), 1e-12)).T
        return np.asarray(nearest * np.exp(-along.max(1)), np.float64)


@dataclass(frozen=True)
class Calibration:
    """What becomes of the outputs of a network. The default leaves its probabilities as they are."""

    temperature: float = 1.0
    """Logits are divided by it (Guo et al. 2017, "On calibration of modern neural networks")."""
    reference: Reference | None = None
    """None: the network never answers that a clip is like none of its classes."""
    limits: tuple[float, float] | None = None
    """Of `turned` and `away`, see `Reference.unlikeness`."""
    left_out: dict[str, float] | None = None
    """Class → how well its clips are told from those of the others by networks without it: area under the
    ROC curve, measured on inner folds. None where it was not measured."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of the network that `answer` needs."""
        return (*LOGITS, "features") if self.reference else LOGITS

    def answer(self, given: Floats, classes: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Probabilities (B, classes) and unlikeness (B,) for the `outputs` (B, …) of a network.

        The unlikeness is 0 or more, and above 1 for what the network does not know. NaN without a reference.
        """
        logits, features = np.split(given, [classes], axis=1)
        probabilities = softmax(logits / self.temperature)
        if self.reference is None or self.limits is None:
            return probabilities, np.full(len(given), np.nan)
        return probabilities, self.reference.unlikeness(features, self.limits)


def write_calibration(calibration: Calibration, folder: Path) -> None:
    """Write calibration.json and, if there is a reference, reference.safetensors."""
    from safetensors.numpy import save

    numbers = {key: value for key, value in asdict(calibration).items() if key != "reference"}
    (folder / _NUMBERS).write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")
    if calibration.reference is not None:
        arrays = {key: value.astype(np.float32) for key, value in vars(calibration.reference).items()}
        arrays["projection"] = arrays["projection"].astype(np.float16)  # the others are small
        (folder / _ARRAYS).write_bytes(save(arrays))


def calibration_files(folder: Path) -> list[Path]:
    """The files of the calibration in `folder`; none for a network that was exported before there was any."""
    return [file for file in (folder / _NUMBERS, folder / _ARRAYS, folder / SEEN) if file.exists()]


def read_calibration(folder: Path) -> Calibration:
    """The calibration in `folder`; the default for a network that was exported before there was any.

    Raises UserError when the files are not ours.
    """
    if not (folder / _NUMBERS).exists() and not (folder / _ARRAYS).exists():
        return Calibration()
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        numbers = json.loads((folder / _NUMBERS).read_text())
        if numbers["limits"] is None:
            return Calibration(**numbers)
        arrays = {key: value.astype(np.float32) for key, value in load_file(folder / _ARRAYS).items()}
        return Calibration(**numbers | {"limits": tuple(numbers["limits"])}, reference=Reference(**arrays))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(
            f"{folder}: {_NUMBERS} or {_ARRAYS} is damaged or missing: export it again."
        ) from error
