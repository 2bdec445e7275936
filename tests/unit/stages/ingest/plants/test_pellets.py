import cv2
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from slimstream.stages.ingest.params import PelletsParams
from slimstream.stages.ingest.plants.pellets import pellet_clips, render

Array = npt.NDArray[np.float64]


def cues(picture: npt.NDArray[np.uint8]) -> tuple[Array, Array, Array]:
    """A histogram of grey values, 16 bins; the picture, 10 × 10; the depths of its dark spots (4,)."""
    histogram = np.histogram(picture, 16, (0, 256))[0] / picture.size
    coarse = cv2.resize(picture, (10, 10), interpolation=cv2.INTER_AREA).astype(float).ravel()
    pellet = cv2.erode((picture > 1.5 * np.percentile(picture, 20)).astype(np.uint8), np.ones((5, 5)))
    pellet = cv2.morphologyEx(pellet, cv2.MORPH_CLOSE, np.ones((9, 9)))
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.8)
    holes = cv2.morphologyEx(smooth, cv2.MORPH_BLACKHAT, np.ones((9, 9))) * pellet
    deepest = np.sort(holes.ravel())[[-1, -3, -6, -10]] / np.median(picture[pellet > 0])
    return np.array([*histogram, picture.mean(), picture.std()]), coarse, deepest


def test_only_small_dark_spots_tell_the_classes_apart_across_batches() -> None:
    """Eight batches, each judged by a probe that never saw it."""
    clips = pellet_clips(PelletsParams(batches=8, pictures=20))
    values, coarse, deepest = (np.stack(each) for each in zip(*(cues(render(c)) for c in clips), strict=True))

    def accuracy(features: Array) -> float:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        groups = [clip.batch for clip in clips]
        with threadpool_limits(1):
            scores = cross_val_score(
                probe, features, [c.quality for c in clips], groups=groups, cv=GroupKFold(4)
            )
        return float(scores.mean())

    scores = [accuracy(each) for each in (values, coarse, np.hstack([values, coarse]), deepest)]
    assert max(scores[:3]) < 0.65, scores
    assert scores[3] > 0.75, scores
