"""Shortcuts: properties of a clip's container or margins that predict the label and that no model should use.

Each cue is scored by a small linear probe that is trained on some groups and predicts others. The score is
compared with that of the same probe for labels permuted within groups. A cue that beats chance works across
cameras and recordings, so a network would learn it too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

ALPHA, FOLDS, BINS, RIDGE = 0.01, 8, 6, 0.1
FEW = 16
"""With at most this many features a cue's columns are also binned, so that the probe is not only linear."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shortcut:
    """A cue with the class that it predicts best, and the significance."""

    cue: str
    label: str
    """The class that the cue predicts best."""
    score: float
    """Area under the ROC curve, `label` against the rest, on groups the probe was not trained on;
    0.5 is chance."""
    p: float
    """Share of permutations in which some class is predicted as well; the true labels count as one."""

    @property
    def flagged(self) -> bool:
        return self.p < ALPHA


def find_shortcuts(
    cues: Mapping[str, npt.ArrayLike],
    labels: Sequence[str],
    groups: Sequence[str] | None,
    twins: Sequence[str],
    permutations: int = 199,
    seed: int = 0,
) -> list[Shortcut]:
    """Score every cue, in order. `cues`: name -> (n,) or (n, features) numbers, one row per clip.

    Without `groups` folds are made of twin sets. Twins of one label and group count as one observation, with
    their mean features. p cannot be below 1 / (permutations + 1).
    """
    label, twin = np.asarray(labels, str), np.asarray(twins, str)
    where = twin if groups is None or len(set(groups)) < 2 else np.asarray(groups, str)
    units = _codes(where, twin, label)
    strata = np.zeros(len(label), int) if where is twin else _codes(where)
    if where is not twin and all(len(set(label[where == g])) == 1 for g in set(where)):
        # All clips of a group have one label: a group is one observation; groups' labels are permuted.
        units, strata = _codes(where), np.zeros(len(label), int)
    _, rows = np.unique(units, return_index=True)  # a row for each unit, in the order of their codes
    classes = np.unique(label)
    targets = _permuted((label[rows, None] == classes).astype(float), strata[rows], permutations, seed)
    fold = _folds(where[rows])

    found = []
    for name, values in cues.items():
        features = _features(_unit_means(np.asarray(values, float).reshape(len(label), -1), units))
        with threadpool_limits(1):  # the matrices are small; on a busy machine a second thread costs seconds
            auc = _scores(features, targets, fold)
        # Standardised by the permutations: a cue may predict one class only, and a rare class varies more.
        z = (auc - auc.mean(axis=0)) / np.maximum(auc.std(axis=0), 1e-9)
        told = int(z[0].argmax())
        p = float(np.mean(z.max(axis=1) >= z[0, told] - 1e-9))
        found.append(Shortcut(name, str(classes[told]), round(float(auc[0, told]), 4), round(p, 4)))
    return found


def _codes(*columns: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """A number for each row (n,), equal for rows that are equal in all columns."""
    frame = pd.DataFrame(dict(enumerate(columns)))
    return np.asarray(frame.groupby(list(frame.columns)).ngroup(), np.int64)


def _folds(groups: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """The fold of each row (n,): one group per fold, or at most `FOLDS` folds of similar size."""
    names, sizes = np.unique(groups, return_counts=True)
    load = np.zeros(min(FOLDS, len(names)), int)
    fold_of = {}
    for i in np.argsort(-sizes, kind="stable"):
        fold_of[names[i]] = int(load.argmin())
        load[load.argmin()] += sizes[i]
    return np.array([fold_of[group] for group in groups])


def _permuted(onehot: Array, strata: npt.NDArray[np.int64], permutations: int, seed: int) -> Array:
    """(n, classes) -> (n, 1 + permutations, classes): the labels as they are, then permuted within strata."""
    rng = np.random.default_rng(seed)
    blocks = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    order = np.tile(np.arange(len(onehot)), (permutations + 1, 1))
    for row in order[1:]:
        for block in blocks:
            row[block] = rng.permutation(block)
    return onehot[order].transpose(1, 0, 2)


def _unit_means(values: Array, units: npt.NDArray[np.int64]) -> Array:
    sums = np.zeros((units.max() + 1, values.shape[1]))
    np.add.at(sums, units, values)
    return sums / np.bincount(units)[:, None]


def _features(values: Array) -> Array:
    """Standardised columns; when there are few, also one-hot columns of six quantile bins of each."""
    columns = [values]
    if values.shape[1] <= FEW:
        for column in values.T:
            edges = np.unique(np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1]))
            columns.append(
                (np.searchsorted(edges, column)[:, None] == np.arange(len(edges) + 1)).astype(float)
            )
    wide = np.hstack(columns)
    wide = wide - wide.mean(axis=0)
    spread = wide.std(axis=0)
    return wide[:, spread > 1e-9] / spread[spread > 1e-9]


def _scores(features: Array, targets: Array, fold: npt.NDArray[np.int64]) -> Array:
    """Area under the ROC curve, one class against the rest, of ridge regression on one-hot targets.

    Returns (1 + permutations, classes). Pairs of clips are compared within a fold only. The probe is linear
    in the targets, so all permutations share one factorisation per fold.
    """
    from scipy.stats import rankdata  # takes a second to import

    copies, classes = targets.shape[1:]
    won, pairs = np.zeros((copies, classes)), np.zeros((copies, classes))
    for k in np.unique(fold):
        test, train = fold == k, fold != k
        if not train.any():
            continue
        centre = features[train].mean(axis=0)
        x = features[train] - centre
        gram = x.T @ x + RIDGE * len(x) * max(1, x.shape[1]) * np.eye(x.shape[1])
        answer = (features[test] - centre) @ np.linalg.solve(gram, x.T @ targets[train].reshape(len(x), -1))
        truth = targets[test].reshape(-1, copies * classes)
        ranks = rankdata(np.round(answer, 9), axis=0)
        positive = truth.sum(axis=0)
        wins = (ranks * truth).sum(axis=0) - positive * (positive + 1) / 2
        won += wins.reshape(copies, classes)
        pairs += (positive * (len(truth) - positive)).reshape(copies, classes)
    return np.where(pairs > 0, won / np.maximum(pairs, 1), 0.5)
