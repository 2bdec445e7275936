"""Classification metrics over a fixed set of classes, equal to those of scikit-learn.

Labels are indices of classes. Macro means are taken over the classes that occur in the truth, because a class
without a clip has no recall. A clip that is predicted as such a class still counts as an error of its true
class. Reports must name the classes that a macro mean leaves out (`absent_classes`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]


def confusion(truth: Ints, predicted: Ints, classes: int) -> npt.NDArray[np.int64]:
    """Confusion matrix (classes, classes): number of clips by truth (rows) and prediction (columns)."""
    from sklearn.metrics import confusion_matrix

    matrix: npt.NDArray[np.int64] = confusion_matrix(truth, predicted, labels=np.arange(classes))
    return matrix


def absent_classes(truth: Ints, classes: Sequence[str]) -> list[str]:
    """Return the names of the `classes` that do not occur in `truth` (N,)."""
    return [name for i, name in enumerate(classes) if not np.any(truth == i)]


def macro_f1(matrix: npt.NDArray[Any]) -> Floats:
    """Macro-F1 of confusion matrices (..., n, n) -> (...), for many resamples at once.

    Equals scikit-learn's `f1_score(average="macro", labels=<classes in the truth>, zero_division=0)`.
    """
    support, claimed = matrix.sum(-1), matrix.sum(-2)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return _over_present(2 * hits / np.maximum(support + claimed, 1), matrix)


def macro_precision(matrix: npt.NDArray[Any]) -> Floats:
    """Macro precision of confusion matrices (..., n, n) -> (...); 0 for a class without predictions."""
    return _over_present(precision(matrix), matrix)


def macro_recall(matrix: npt.NDArray[Any]) -> Floats:
    """Macro recall (balanced accuracy) of confusion matrices (..., n, n) -> (...)."""
    return _over_present(recall(matrix), matrix)


def _over_present(scores: Floats, matrix: npt.NDArray[Any]) -> Floats:
    """Mean of `scores` (..., n) over the classes that occur in the truth of `matrix` (..., n, n)."""
    present = matrix.sum(-1) > 0
    mean: Floats = (scores * present).sum(-1) / np.maximum(present.sum(-1), 1)
    return mean


def precision(matrix: npt.NDArray[Any]) -> Floats:
    """Precision of every class, of confusion matrices (..., n, n) -> (..., n); 0 without predictions.

    Of two classes, that of the defect is P3's precision; the macro means are over both.
    """
    share: Floats = np.diagonal(matrix, axis1=-2, axis2=-1) / np.maximum(matrix.sum(-2), 1)
    return share


def recall(matrix: npt.NDArray[Any]) -> Floats:
    """Recall of every class, of confusion matrices (..., n, n) -> (..., n); 0 for a class without a clip."""
    share: Floats = np.diagonal(matrix, axis1=-2, axis2=-1) / np.maximum(matrix.sum(-1), 1)
    return share


def accuracy(matrix: npt.NDArray[Any]) -> Floats:
    """Accuracy (0..1) of confusion matrices (..., n, n) -> (...)."""
    share: Floats = np.trace(matrix, axis1=-2, axis2=-1) / np.maximum(matrix.sum((-2, -1)), 1)
    return share


def per_class(truth: Ints, predicted: Ints, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per class: class, precision, recall, f1 (0..1) and number of clips.

    Precision is 0 without predictions; recall and F1 are None without clips.
    """
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        truth, predicted, labels=np.arange(len(classes)), zero_division=0
    )
    return [
        {
            "class": name,
            "precision": float(precision),
            "recall": float(recall) if clips else None,
            "f1": float(f1) if clips else None,
            "clips": int(clips),
        }
        for name, precision, recall, f1, clips in zip(classes, *columns, strict=True)
    ]


def summary(truth: Ints, probabilities: Floats) -> dict[str, float]:
    """Return accuracy, macro_precision, macro_recall, macro_f1, ece (all 0..1) and brier (0..2).

    `truth` (N,) indices, `probabilities` (N, n), N ≥ 1.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    predicted = probabilities.argmax(1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, labels=np.unique(truth), average="macro", zero_division=0
    )
    bins = reliability(truth, probabilities)
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_precision": float(precision),
        "macro_recall": float(recall),
        "macro_f1": float(f1),
        "ece": sum(b["clips"] * abs(b["accuracy"] - b["confidence"]) for b in bins) / len(truth),
        "brier": brier(truth, probabilities),
    }


def brier(truth: Ints, probabilities: Floats) -> float:
    """Brier score (0..2) of (N, n) `probabilities`: squared errors summed over classes, mean over clips."""
    from sklearn.metrics import brier_score_loss

    labels = np.arange(probabilities.shape[1])
    # Double precision, so that the sums are close enough to 1 for scikit-learn.
    exact = probabilities.astype(np.float64)
    return float(
        brier_score_loss(truth, exact / exact.sum(1, keepdims=True), labels=labels, scale_by_half=False)
    )


def reliability(truth: Ints, probabilities: Floats, bins: int = 5) -> list[dict[str, float]]:
    """Confidence (largest probability) against accuracy in at most `bins` bins of equally many clips.

    Equal counts and few bins (Nixon et al. 2019, "Measuring calibration in deep learning"): on some
    dozens of clips, bins of equal width are mostly empty and the expected calibration error is mostly noise.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    order = np.argsort(confidence, kind="stable")
    return [
        {"confidence": float(confidence[i].mean()), "accuracy": float(right[i].mean()), "clips": len(i)}
        for i in np.array_split(order, min(bins, len(order)))
    ]


def average_by_video(
    probabilities: npt.NDArray[np.float64], videos: Sequence[str]
) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Average the probabilities of each video's clips: (V,) index of its first clip, and (V, n) means.

    The mean weighs confident clips more and has no ties; P2 does not specify how clips are combined.
    `probabilities` is (N, n), `videos` (N,) names the video of each clip. Videos are sorted by name.
    """
    _, first, of = np.unique(np.asarray(videos, str), return_index=True, return_inverse=True)
    sums = np.zeros((len(first), probabilities.shape[1]))
    np.add.at(sums, of, probabilities)
    return first, sums / np.bincount(of)[:, None]


COMPRESSED = ("distilled", "pruned", "slim")
"""The models that may be published, the preferred one first."""


def preferred_model(scores: Mapping[str, float], candidates: Sequence[str] = COMPRESSED) -> str | None:
    """Return the candidate with the best `<name>.val_macro_f1`, then the lowest `<name>.val_brier`.

    None when no candidate has scores; on a tie the one that is first in COMPRESSED.
    """
    known = [name for name in COMPRESSED if name in candidates and f"{name}.val_macro_f1" in scores]
    return max(
        known, key=lambda m: (scores[f"{m}.val_macro_f1"], -scores.get(f"{m}.val_brier", 0)), default=None
    )
