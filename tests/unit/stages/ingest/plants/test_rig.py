import hashlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from slimstream.clips import video
from slimstream.core.errors import UserError
from slimstream.stages.ingest.params import RigParams
from slimstream.stages.ingest.plants import rig

Array = npt.NDArray[np.float64]
CLIP = rig.RigClip(recording=1, state="diverted_flow", number=0, seconds=0.4, fps=25, seed=0)


def test_a_clip_is_a_real_video(tmp_path: Path) -> None:
    CLIP.write(tmp_path / "a.mp4")
    info = video.probe(tmp_path / "a.mp4")
    assert (info.frames, info.fps, info.width, info.height) == (10, 25, rig.WIDTH, rig.HEIGHT)
    decoded = [frame[..., ::-1].astype(int) for _, frame in video.frames(tmp_path / "a.mp4")]
    assert len(decoded) == 10
    for seen, drawn in zip(decoded, rig.render(CLIP), strict=True):
        assert np.abs(seen - drawn).mean() < 6, "the file shows what was drawn"


def test_the_same_clip_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        CLIP.write(tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.mp4", "b.mp4"))
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


@pytest.mark.parametrize("change", [{"seed": 1}, {"recording": 2}, {"state": "normal"}, {"number": 1}])
def test_every_part_of_a_clip_changes_pictures_and_etag(change: dict[str, int]) -> None:
    other = rig.RigClip(**{**vars(CLIP), **change})
    assert other.etag != CLIP.etag
    assert np.abs(next(rig.render(other)).astype(int) - next(rig.render(CLIP))).mean() > 1


def test_more_recordings_or_clips_leave_the_others_as_they_are() -> None:
    few, many = ({clip.key: clip.etag for clip in rig.rig_clips(n, n, 1, 25, 0)} for n in (2, 3))
    assert len(few) == 12 and len(many) == 27 and few.items() <= many.items()


def test_where_nothing_can_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/a\.mp4: cannot write a video here"):
        CLIP.write(tmp_path / "nowhere/a.mp4")


def cues(clip: rig.RigClip) -> tuple[Array, Array, Array]:
    """Mean frame (16, 16, 3); histogram of flow, 10 speeds × 8 directions; where it moves, (2, 12, 12)."""
    frames = [cv2.resize(frame, (128, 96), interpolation=cv2.INTER_AREA) for frame in rig.render(clip)]
    grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames]
    pairs = zip(grey[1::4], grey[2::4], strict=False)
    flow = np.stack([cv2.calcOpticalFlowFarneback(*two, None, 0.5, 3, 15, 3, 5, 1.2, 0) for two in pairs])
    speed, angle = np.hypot(flow[..., 0], flow[..., 1]), np.arctan2(flow[..., 1], flow[..., 0])
    edges = [0, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 100], np.linspace(-np.pi, np.pi, 9)
    histogram = np.histogram2d(speed.ravel(), angle.ravel(), edges)[0] / speed.size
    maps = (speed.mean(axis=0), np.std(grey, axis=0).astype(np.float32))
    where = np.stack([cv2.resize(each, (12, 12), interpolation=cv2.INTER_AREA) for each in maps])
    mean = cv2.resize(np.mean(frames, axis=0).astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA)
    return mean, histogram, where


def test_only_where_it_moves_tells_the_states_apart_across_recordings() -> None:
    """The default rig, 0.6 seconds a clip, every recording judged by a probe that never saw it."""
    default = RigParams()
    clips = rig.rig_clips(default.recordings, default.clips, 0.6, default.fps, default.seed)
    states, recordings = [clip.state for clip in clips], [clip.recording for clip in clips]
    mean, histogram, where = (
        np.stack(features).reshape(len(clips), -1) for features in zip(*map(cues, clips), strict=True)
    )

    def macro_f1(features: Array) -> float:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        folds = GroupKFold(5)
        with threadpool_limits(1):
            told = cross_val_predict(probe, features, states, groups=recordings, cv=folds)
        return float(f1_score(states, told, average="macro"))

    scores = [macro_f1(each) for each in (mean, histogram, np.hstack([mean, histogram]), where)]
    assert max(scores[:3]) < 0.55, scores
    assert scores[3] > 0.8, scores
