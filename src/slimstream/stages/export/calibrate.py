"""Fit the calibration of a deployed network: a temperature, and a reference that clips are compared with.

Both are judged on clips whose groups neither the head nor the reference has learnt from. Where only a head
was fitted to frozen features, these are all train and val clips, on inner folds. A network that has learnt by
gradient steps knows the train clips in all its layers; there they are the val clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from slimstream.runtimes.base import softmax
from slimstream.runtimes.calibration import Calibration, Floats, Reference
from slimstream.runtimes.seen import FEATURES, NETWORK
from slimstream.runtimes.split_part import SplitPart
from slimstream.training.closed_form import standardisation
from slimstream.training.inner_folds import InnerFolds, inner_folds, logits_left_out
from slimstream.training.metrics.classification import Ints

DIRECTIONS = 96
"""Greatest number of principal components of the features that a reference looks at."""
LEAST = 1e-6
"""Instead of a limit or a variance of 0, where clips have the same features."""
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Clips `held` (N,), judged by what has learnt from the clips `known` (N,) and not from their groups."""

    known: Mask
    held: Mask


@dataclass(frozen=True)
class Fitted:
    """A calibration, and what heads and references say of held clips whose groups they do not know."""

    calibration: Calibration
    probabilities: Floats
    """(N, classes), calibrated; of no meaning for clips that were never held."""
    numbers: Floats
    """(N, len(NETWORK)) of `runtimes.seen`; NaN for clips that were never held, and where there is none."""


def fit_temperature(logits: Floats, truth: Ints) -> float:
    """The temperature that makes logits (N, n) likeliest, for classes `truth` (N,) (Guo et al. 2017)."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        p = softmax(logits / np.exp(log_temperature))[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(p, 1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))


def principal_components(z: Floats) -> Floats:
    """At most DIRECTIONS principal components (F, d) of centred features z (N, F), the largest first.

    By the Gram matrix (N, N): there are fewer clips than features.
    """
    values, vectors = np.linalg.eigh(z @ z.T)
    kept = np.flatnonzero(values >= 1e-5 * values[-1])[::-1][:DIRECTIONS]
    return np.asarray(z.T @ (vectors[:, kept] / np.sqrt(np.maximum(values[kept], LEAST))))


def fit_reference(x: Floats, truth: Ints, classes: int) -> Reference:
    """The reference for features x (N, F) of clips of the classes `truth` (N,).

    Standardised features are projected on their principal components. There the covariance within classes,
    shrunk as in Ledoit and Wolf (2004), is made the unit matrix.
    """
    from sklearn.covariance import ledoit_wolf

    mean, scale = standardisation(x)
    z = ((x - mean) / scale).astype(np.float32)
    components = principal_components(z)
    z = (z @ components).astype(np.float64)
    of_class = [z[truth == k] for k in range(classes)]
    means = np.stack([own.mean(0) if len(own) else np.full(z.shape[1], np.nan) for own in of_class])
    covariance, _ = ledoit_wolf(z - means[truth], assume_centered=True)
    whiten = np.linalg.cholesky(np.linalg.inv(covariance + LEAST * np.eye(len(covariance))))
    return Reference(mean, scale, components @ whiten, means @ whiten)


def calibrate_head(
    x: Floats,
    clips: SplitPart,
    some: list[int],
    classes: Sequence[str],
    strength: float,
    keep: float | None,
) -> Fitted:
    """The calibration of a network of which only the head has learnt, in closed form, from all `clips`.

    `x` are the features (N, F) of the clips with the indices `some`, and `strength` is that of the head. On
    inner folds heads and references are fitted to the other folds' clips alone.
    """
    rows, truth = clips.rows.iloc[some], clips.truth[some]
    folds = inner_folds(rows["group"].tolist(), rows["twin"].tolist(), truth)
    judged = [Judged(folds.of_clip != i, folds.of_clip == i) for i in range(folds.count)]
    logits = logits_left_out(x, truth, folds, len(classes), strength)
    fitted = calibrate(logits, x, truth, len(classes), judged, keep)
    if (limits := fitted.calibration.limits) is None:
        return fitted
    found = tell_left_out(x, truth, len(classes), judged, limits)
    left_out = {classes[k]: area for k, area in found.items()}
    return replace(fitted, calibration=replace(fitted.calibration, left_out=left_out))


def calibrate_network(
    probabilities: Floats,
    x: Floats | None,
    clips: SplitPart,
    some: list[int],
    classes: Sequence[str],
    keep: float | None,
    strength: float | None = None,
) -> Fitted:
    """The calibration of a network that has learnt from the train clips among `clips`, and is asked for val.

    `probabilities` (V, n) are its answers for all val clips by a head that has not learnt from them, and `x`
    (N, F) the features of the clips with the indices `some`, or None. With `strength` its head was fitted
    again, in closed form: its logits may have another scale than those of the head from before, so a head
    like it, fitted to the train clips alone, is asked. How well classes are told that it does not know is not
    measured: its layers have learnt from all of them.
    """
    val, truth = clips.rows["part"].to_numpy() == "val", clips.truth[some]
    known, held = ~val[some], val[some]
    if x is not None and strength is not None and known.any():
        folds = InnerFolds("val", np.where(held, 0, -1), 1)  # one fold: val
        logits = logits_left_out(x, truth, folds, len(classes), strength)
    else:
        every = np.zeros((len(val), len(classes)))
        every[val] = np.log(np.maximum(probabilities, 1e-12))  # but for a constant, which does not matter
        logits = every[some]
    return calibrate(logits, x, truth, len(classes), [Judged(known, held)], keep)


def calibrate(
    logits: Floats, x: Floats | None, truth: Ints, classes: int, judged: list[Judged], keep: float | None
) -> Fitted:
    """The calibration of a network with these logits (N, classes) of clips that it has not learnt from.

    Only the rows of `held` clips are read of `logits`. Without features `x` (N, F), or without `keep`, it has
    no reference. `keep` is the share of the `held` clips whose unlikeness is at most 1. The reference is
    fitted to all clips that are `known` in any of `judged`.
    """
    held = np.any([each.held for each in judged], axis=0)
    temperature = fit_temperature(logits[held], truth[held])
    probabilities = softmax(logits / temperature)
    said = np.full((len(truth), len(NETWORK)), np.nan)
    said[held, 1] = probabilities[held].max(1)
    if x is None or keep is None:
        return Fitted(Calibration(temperature), probabilities, said)
    others = [(fit_reference(x[j.known], truth[j.known], classes), j.held) for j in judged]
    # Pictures of other things are turned further than any of these clips, so that `away` decides the share.
    turned = max(float(reference.turned(x[shown]).max()) for reference, shown in others)
    away = np.quantile(np.concatenate([reference.away(x[shown]) for reference, shown in others]), keep)
    limits = max(turned, LEAST), max(float(away), LEAST)
    known = np.any([each.known for each in judged], axis=0)
    reference = fit_reference(x[known], truth[known], classes)
    for other, shown in others:
        said[shown, 0] = other.unlikeness(x[shown], limits)
    few = reference.place(x[held])[:, :FEATURES]
    said[held, 2 : 2 + few.shape[1]] = few
    return Fitted(Calibration(temperature, reference, limits), probabilities, said)


def tell_left_out(
    x: Floats, truth: Ints, classes: int, judged: list[Judged], limits: tuple[float, float]
) -> dict[int, float]:
    """How well clips of a class are told from those of the others, by references that do not know the class.

    Class → area under the ROC curve (0.5: not at all, 1: always) of the unlikeness with these `limits`, mean
    over `judged`. A class is absent whose clips, or all others, are never `held`. Nothing but a head may have
    learnt from x (N, F).
    """
    from sklearn.metrics import roc_auc_score

    found = {}
    for k in range(classes):
        areas = []
        for j in judged:
            known, unknown = j.known & (truth != k), truth[j.held] == k
            if unknown.any() and not unknown.all() and known.any():
                reference = fit_reference(x[known], truth[known], classes)
                areas.append(roc_auc_score(unknown, reference.unlikeness(x[j.held], limits)))
        if areas:
            found[k] = float(np.mean(areas))
    return found
