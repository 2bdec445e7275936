"""Models in their deployed form, and what they predict for the test clips."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from torch import nn

from slimstream.core.parallel import cores
from slimstream.core.paths import Paths
from slimstream.models import create_model
from slimstream.models.checkpoint import Card, load_model
from slimstream.runtimes import open_calibrated
from slimstream.runtimes.base import Form, Network, read_forms, softmax, warm_up
from slimstream.runtimes.calibration import Calibration
from slimstream.runtimes.split_part import Floats, SplitPart


@dataclass(frozen=True)
class Prediction:
    """One model: calibrated probabilities (N, n) of its deployed form on the test clips."""

    name: str
    model: nn.Module
    card: Card
    test: Floats
    uncalibrated: Floats
    """The same before the logits are divided by the temperature."""
    unlikeness: Floats
    """(N,) see `runtimes.calibration`; NaN without a reference."""
    calibration: Calibration
    deployed: Network
    form: Form
    forms: list[Form]
    """All forms that it was exported in."""
    example: npt.NDArray[np.uint8]
    """The clip of median length as the network sees it, (1, T, C, H, W)."""

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        return self.test.argmax(1)


def predict(name: str, paths: Paths, test: SplitPart) -> Prediction:
    """Predict all test clips with the deployed form of the model `name`."""
    model, card = load_model(paths.final_model(name), create_model)
    folder = paths.export(name)
    form, forms = read_forms(folder)
    seen = test.reduced(card.network_input.reduce)
    example = seen.median_clip()
    parallel, calibration = open_calibrated(folder, form.runtime, at_once=cores())
    deployed, _ = open_calibrated(folder, form.runtime)
    warm_up([parallel, deployed], example)
    outputs, classes = seen.outputs(parallel, f"{name}: test"), len(card.classes)
    answers, unlikeness = calibration.answer(outputs, classes)
    before = softmax(outputs[:, :classes])
    return Prediction(
        name, model, card, answers, before, unlikeness, calibration, deployed, form, forms, example
    )
