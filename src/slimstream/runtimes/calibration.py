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

Floats = npt.NDArray[np.floating[Any]]
_NUMBERS, _ARRAYS = "calibration.json", "reference.safetensors"


@dataclass(frozen=True)
class Reference:
    """The means of the classes in a projection of the features, in which a class scatters by about 1.

    So the distance to the nearest mean is the Mahalanobis distance with one covariance for all classes (Lee et
    al. 2018, "A simple unified framework for detecting out-of-distribution samples and adversarial attacks").
    A new group lies far from all of them, too. What tells a clip of a known class there is that it lies in the
    direction of that class, seen from the middle of the classes.
    """

    centre: Floats
    """(F,) mean of the features."""
    projection: Floats
    """(F, d), applied to features - centre."""
    means: Floats
    """(n, d): the projected mean of each class; NaN for a class without clips."""

    def distance(self, features: Floats) -> npt.NDArray[np.float64]:
        """How far features (B, F) are from all classes: (B,), 0 or more.

        The distance to the nearest mean, divided by exp(a). Of the positions along the lines from the middle
        of the means (0) to each mean (1) that are nearest to the features, `a` is the largest.
        """
        means = self.means[np.isfinite(self.means).all(1)].astype(np.float64)
        x = (features - self.centre).astype(np.float64) @ self.projection.astype(np.float64)
        nearest = np.linalg.norm(x[:, None] - means, axis=2).min(1)
        lines = means - means.mean(0)
        along = (x - means.mean(0)) @ (lines / np.maximum((lines**2).sum(1, keepdims=True), 1e-12)).T
        return np.asarray(nearest * np.exp(-along.max(1)))


@dataclass(frozen=True)
class Calibration:
    """What becomes of the outputs of a network. The default leaves its probabilities as they are."""

    temperature: float = 1.0
    """Logits are divided by it (Guo et al. 2017, "On calibration of modern neural networks")."""
    reference: Reference | None = None
    """None: the network never answers that a clip is like none of its classes."""
    limit: float | None = None
    """Distance at which the unlikeness is 1."""
    left_out: dict[str, float] | None = None
    """Class → how well its clips are told from those of the others by networks without it: area under the
    ROC curve, measured on inner folds. None where it was not measured."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of the network that `answer` needs."""
        return (*LOGITS, "features") if self.reference else LOGITS

    def answer(self, given: Floats, classes: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Probabilities (B, classes) and unlikeness (B,) for the `outputs` (B, …) of a network.

        The unlikeness is 0 or more, and above 1 for what the network does not know; NaN without a reference.
        """
        logits, features = np.split(given, [classes], axis=1)
        probabilities = softmax(logits / self.temperature)
        if self.reference is None or self.limit is None:
            return probabilities, np.full(len(given), np.nan)
        return probabilities, self.reference.distance(features) / self.limit


def write_calibration(calibration: Calibration, folder: Path) -> None:
    """Write calibration.json and, if there is a reference, reference.safetensors in half precision."""
    from safetensors.numpy import save_file

    numbers = {key: value for key, value in asdict(calibration).items() if key != "reference"}
    (folder / _NUMBERS).write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")
    if calibration.reference is not None:
        arrays = {key: value.astype(np.float16) for key, value in vars(calibration.reference).items()}
        save_file(arrays, folder / _ARRAYS)


def read_calibration(folder: Path) -> Calibration:
    """The calibration in `folder`; the default for a network that was exported before there was any.

    Raises UserError when the files are not ours.
    """
    if not (folder / _NUMBERS).exists():
        return Calibration()
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        numbers = json.loads((folder / _NUMBERS).read_text())
        arrays = load_file(folder / _ARRAYS) if numbers["limit"] is not None else None
        return Calibration(**numbers, reference=Reference(**arrays) if arrays else None)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"{folder}: {_NUMBERS} or {_ARRAYS} is damaged or missing: export it again.") from error
