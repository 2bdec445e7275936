"""Forms with fewer bits get heads of their own, fitted in closed form to the features that they compute.

Every rounding moves the features a little, and the head is fitted again to where they are then. Whether such
a form answers as the network does is asked on inner folds of the train and val clips: each clip is predicted
by heads that have not learnt from its group, the exact form's and the coarse form's.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from slimstream.core.parallel import cores
from slimstream.models.base import Classifier
from slimstream.models.layers.heads import CosineHead
from slimstream.runtimes import REFERENCE, RUNTIMES, find_runtime, open_network
from slimstream.runtimes import export as formats
from slimstream.runtimes.base import warm_up
from slimstream.runtimes.split_part import SplitPart, spread_indices
from slimstream.stages.export.comparison import leave_out_on_error
from slimstream.training.closed_form import HasMemory, fit_to_features
from slimstream.training.inner_folds import inner_folds, predict_left_out, scores_of_folds
from slimstream.training.metrics.classification import Ints

JUDGES = 1000
"""At most so many clips judge a form. Heads are fitted to all clips."""


@dataclass(frozen=True)
class Judged:
    """A form against the exact one, both with heads of their own, on inner folds."""

    changed: float
    """Share of clips with another predicted class, or that of clips for which the head as written has one
    that the fitted head has not, where this is more."""
    lost: float
    """Mean macro-F1 over the folds that it has less."""


def takes_own_heads(model: nn.Module, clips: SplitPart) -> TypeGuard[Classifier]:
    """Whether the head of `model` can be fitted to given features, and judged on folds of `clips`."""
    return (
        isinstance(model, Classifier)
        and model.has_one_head
        and not isinstance(model, HasMemory)
        and not isinstance(model.head, CosineHead)
        and getattr(model, "classifier", "logistic") == "logistic"
        and clips.rows["twin"].iloc[judges(clips)].nunique() > 1
    )


def judges(clips: SplitPart) -> list[int]:
    """Indices of the clips that judge, evenly spread over all."""
    return spread_indices(len(clips), JUDGES)


@dataclass(frozen=True)
class OwnHeads:
    """Fits heads to what the forms of `model` compute."""

    model: Classifier
    strength: float
    """Inverse L2 penalty of its head."""

    def give(
        self,
        name: str,
        known: Sequence[npt.NDArray[np.uint8]],
        folder: Path,
        runtimes: Sequence[str],
        clips: SplitPart,
    ) -> dict[str, Judged]:
        """Judge the inexact ones of `runtimes`; replace their heads in `folder`. Absent are those that fail.

        `clips` are the train and val clips, `known` the calibration batches that `folder` was written with.
        Of forms that share their files the first, which is the most precise, decides the head in them, and
        all are judged with heads fitted to its features.
        """
        model, strength = self.model, self.strength
        classes, some = len(model.head.weight), judges(clips)
        rows, truth = clips.rows.iloc[some], clips.truth[some]
        folds = inner_folds(rows["group"].tolist(), rows["twin"].tolist(), truth)

        def predict(x: npt.NDArray[np.float32], shown: npt.NDArray[np.float32]) -> Ints:
            return predict_left_out(x, truth, folds, classes, strength, shown)

        def score(predicted: Ints) -> float:
            return float(scores_of_folds(truth, predicted, folds, classes)[0])

        coarse = [r for r in runtimes if not find_runtime(r).exact and not find_runtime(r).missing()]
        if not coarse:
            return {}
        exact = answers(name, folder, REFERENCE, clips, "features", some)
        expected = predict(exact, exact)
        fitted = {each.files: (model, exact) for each in RUNTIMES.values() if each.exact}
        judged = {}
        for runtime in coarse:
            with leave_out_on_error(name, runtime):
                files = find_runtime(runtime).files
                if files in fitted:
                    own = answers(name, folder, runtime, clips, "features", some)
                else:
                    features, head = answers(name, folder, runtime, clips, "features"), copy.deepcopy(model)
                    fit_to_features(head, features, clips.truth, classes, strength)
                    replace_head(head, known, folder, runtime)
                    own = features[some]
                    fitted[files] = head, own
                head, learnt_from = fitted[files]
                predicted = predict(learnt_from, own)
                # The head itself is written with fewer bits, too, and no inner fold knows that.
                said = answers(name, folder, runtime, clips, "logits", some).argmax(1)
                off = float((said != classify(head, own)).mean())
                changed = max(off, float((predicted != expected).mean()))
                judged[runtime] = Judged(changed, score(expected) - score(predicted))
        return judged


def answers(
    name: str,
    folder: Path,
    runtime: str,
    clips: SplitPart,
    output: str,
    some: Sequence[int] | None = None,
) -> npt.NDArray[np.float32]:
    """The `output` of `clips`, or of those with the indices `some`, by the form for `runtime`.

    'features' are (N, F), 'logits' (N, n).
    """
    network = open_network(folder, runtime, at_once=cores(), outputs=[output])
    warm_up([network], clips.median_clip())
    return clips.outputs(network, f"{name}: {output}, {runtime}", some)


@torch.inference_mode()
def classify(model: Classifier, features: npt.NDArray[np.float32]) -> Ints:
    """Predicted class (N,) of clips with these features (N, F) by the head of `model`."""
    return model.classify(torch.from_numpy(features)).argmax(1).numpy()


def replace_head(
    model: Classifier, known: Sequence[npt.NDArray[np.uint8]], folder: Path, runtime: str
) -> None:
    """Write the files for `runtime` in `folder` with the head of `model`, of which nothing else differs.

    Raises RuntimeError when the form cannot be written.
    """
    with TemporaryDirectory(dir=folder) as other:
        failed = formats.export(model, known, Path(other), [runtime], [folder])
        if failed:
            raise RuntimeError(failed[runtime])
        for file in find_runtime(runtime).paths(Path(other)):
            file.replace(folder / file.name)
