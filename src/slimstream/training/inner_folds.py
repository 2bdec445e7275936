"""Inner folds of the training clips, and the scores of predictions on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from slimstream.core.errors import UserError
from slimstream.training.metrics.classification import Floats, Ints, macro_f1
from slimstream.training.metrics.intervals import Resampling

MIN_GROUPS = 3
"""With fewer groups, folds are made of near-twin sets."""
MOST_FOLDS = 10
"""More groups than these share folds."""
TWIN_FOLDS = 5


@dataclass(frozen=True)
class InnerFolds:
    """Folds over N clips. `of_clip` (N,): the fold in which a clip is predicted."""

    by: Literal["group", "twin", "val"]
    of_clip: Ints
    units: int
    """Number of groups, or of near-twin sets."""

    @property
    def count(self) -> int:
        return int(self.of_clip.max()) + 1

    @property
    def label(self) -> str:
        """Description for report and log."""
        if self.by == "val":
            said = f"the val clips of {'one group' if self.units == 1 else f'{self.units} groups'}"
            few = f", fewer than {MIN_GROUPS}, so that bounds are of near-twin sets and say nothing of others"
            return said if self.units >= MIN_GROUPS else said + few
        if self.by == "twin":
            return (
                f"{self.count} folds of {self.units} near-twin sets, because there are fewer than "
                f"{MIN_GROUPS} training groups: the scores say nothing of a new group"
            )
        if self.count == self.units:
            return f"{self.count} folds, each with one training group left out"
        return f"{self.count} folds of {self.units} training groups"


def inner_folds(group: Sequence[Any], twin: Sequence[Any], truth: Ints) -> InnerFolds:
    """Divide N training clips with these groups, near-twin sets and classes (N,) into folds.

    Of 3 to 10 groups each is left out once; more are put together. With fewer groups whole near-twin sets are
    left out. Raises UserError when all clips are one near-twin set.
    """
    groups, of_clip = np.unique(np.asarray(group, str), return_inverse=True)
    if MIN_GROUPS <= len(groups) <= MOST_FOLDS:
        return InnerFolds("group", of_clip, len(groups))
    if len(groups) > MOST_FOLDS:
        return InnerFolds("group", _together(of_clip, truth, MOST_FOLDS), len(groups))
    sets, of_clip = np.unique(np.asarray(twin, str), return_inverse=True)
    if len(sets) < 2:
        raise UserError(
            "params.yaml: all training clips are one near-twin set, so no inner fold can be left out; add "
            "clips, or set the lists of search to null and prune.rate to a number."
        )
    return InnerFolds("twin", _together(of_clip, truth, min(TWIN_FOLDS, len(sets))), len(sets))


def val_fold(group: Sequence[Any]) -> InnerFolds:
    """The N val clips with these groups as one fold, for networks that have learnt from the train clips."""
    return InnerFolds("val", np.zeros(len(group), np.int64), len(set(group)))


def _together(unit: Ints, truth: Ints, folds: int) -> Ints:
    """Put whole units into `folds` folds, those of a class in turn; (N,) fold of each clip.

    A unit counts once, whatever its size, and for the class of its first clip.
    """
    units, first = np.unique(unit, return_index=True)
    # Units of one class follow one another and go to the folds in turn.
    order = np.lexsort((units, truth[first]))
    fold = np.empty(len(units), np.int64)
    fold[order] = np.arange(len(units)) % folds
    return np.asarray(fold[np.searchsorted(units, unit)])


def predict_left_out(
    x: npt.NDArray[np.float32],
    truth: Ints,
    folds: InnerFolds,
    classes: int,
    strength: float,
    shown: npt.NDArray[np.float32] | None = None,
) -> Ints:
    """Predicted class (N,) of each clip, as `logits_left_out`."""
    return np.asarray(logits_left_out(x, truth, folds, classes, strength, shown).argmax(1))


def logits_left_out(
    x: npt.NDArray[np.float32],
    truth: Ints,
    folds: InnerFolds,
    classes: int,
    strength: float,
    shown: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float64]:
    """Logits (N, classes) of each clip with features x (N, F), by a classifier fitted to the other folds.

    With `shown` (N, F), it is asked for these features of the clips instead of those it is fitted to.
    """
    from slimstream.training.closed_form import linear_classifier, standardisation

    shown = x if shown is None else shown
    logits = np.zeros((len(x), classes))
    for fold in range(folds.count):
        held = folds.of_clip == fold
        mean, scale = standardisation(x[~held])
        weight, bias = linear_classifier((x[~held] - mean) / scale, truth[~held], classes, strength)
        logits[held] = ((shown[held] - mean) / scale) @ weight.T + bias
    return logits


def scores_of_folds(
    truth: Ints, predicted: Ints, folds: InnerFolds, classes: int, draws: Resampling | None = None
) -> Floats:
    """Mean macro-F1 over the folds: (1,), or (R,) of the resamples `draws`.

    A fold counts as often as its groups are drawn: where each fold is a group, its score does not change.
    """
    unit = np.arange(len(truth)) if draws is None else draws.unit
    drawn = np.ones((1, len(truth)), np.int64) if draws is None else draws.draws
    counts = np.zeros((drawn.shape[1], classes, classes), np.int64)
    np.add.at(counts, (unit, truth, predicted), 1)
    total, weights = np.zeros(len(drawn)), np.zeros(len(drawn))
    for fold in range(folds.count):
        own = np.unique(unit[folds.of_clip == fold])
        share = drawn[:, own].mean(1)
        total += share * macro_f1(np.tensordot(drawn[:, own], counts[own], axes=1))
        weights += share
    return total / weights
