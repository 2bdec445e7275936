import itertools
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
from slimstream.stages.ingest.params import BenchParams
from slimstream.stages.ingest.plants.bench import BenchClip, bench_clips, render
from slimstream.stages.ingest.plants.bench_moves import ACTIONS, GRASP, Moment, Script
from slimstream.stages.ingest.plants.bench_scene import SIZE

Array = npt.NDArray[np.float64]
CLIP = BenchClip(person=0, action="stir", video=0, number=0, seconds=2.0, fps=5.0, seed=0)
PLACES = {name: np.array([0.2 * number, 0.7]) for number, name in enumerate(GRASP)}
HOME = np.array([0.8, 1.3])


def script(action: str, seed: int) -> Script:
    return Script(action, PLACES, HOME, 4.0, np.random.default_rng(seed))


def test_a_clip_is_a_video_of_up_to_its_seconds(tmp_path: Path) -> None:
    CLIP.write(tmp_path / "a.mp4")
    info = video.probe(tmp_path / "a.mp4")
    assert (info.width, info.height, info.fps) == (*SIZE, 5) and 5 <= info.frames <= 10


@pytest.mark.parametrize("change", [{"person": 1}, {"action": "mix"}, {"video": 1}, {"number": 1}])
def test_every_part_of_a_clip_changes_its_pictures(change: dict[str, int]) -> None:
    other = BenchClip(**{**vars(CLIP), **change})
    frames = [np.stack([f for f, _ in zip(render(c), range(5), strict=False)]) for c in (CLIP, other)]
    assert np.abs(np.subtract(*(each.astype(int) for each in frames))).mean() > 1


def test_clips_of_a_video_share_its_scene() -> None:
    """Before the hand comes they show the same bench; another video of the same person shows another."""
    clips = (
        BenchClip(**{**vars(CLIP), "fps": 25.0, **change}) for change in ({}, {"number": 1}, {"video": 1})
    )
    first = [cv2.GaussianBlur(next(render(clip)), (0, 0), 3)[60:].astype(float) for clip in clips]
    one, cut, other = (frame / frame.mean() for frame in first)  # the light differs
    assert np.abs(one - cut).mean() < 0.5 * np.abs(one - other).mean()


@pytest.mark.parametrize("seed", range(5))
def test_putting_down_is_picking_up_backwards(seed: int) -> None:
    def told(moment: Moment) -> list[object]:
        return [each.tolist() if isinstance(each, np.ndarray) else each for each in vars(moment).values()]

    up, down = script("pick_up", seed), script("put_down", seed)
    for share in np.arange(1, 64) / 64:  # 1 - share is exact
        assert told(up.at(share)) == told(down.at(1 - share))
    assert up.at(0.999).gone == down.at(0.001).gone or up.at(0.999).moved == down.at(0.001).moved != ""


@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_jumps_and_no_decoy_moves_a_thing(action: str) -> None:
    for seed in range(5):
        moments = [script(action, seed).at(share) for share in np.linspace(0, 1, 300)]
        hand, shift = (np.stack([getattr(m, name) for m in moments]) for name in ("hand", "shift"))
        held = [(m.moved, m.gone) for m in moments]
        steady = [one == two for one, two in itertools.pairwise(held)]
        assert np.hypot(*np.diff(hand, axis=0).T).max() < 0.1
        assert np.hypot(*np.diff(shift, axis=0).T)[steady].max() < 0.1
        things = {m.moved for m in moments} - {""}
        only = {"stir": {"rod"}, "mix": {"flask"}, "take_liquid": set[str]()}
        assert things == only[action] if action in only else len(things) == 1
        filled = [m.filled for m in moments if m.filled is not None]
        assert (0.0 < max(np.diff(filled), default=0.0) < 1.0) == (action == "take_liquid")


def cues(clip: BenchClip) -> tuple[Array, Array, Array]:
    """Middle and mean frame, both (16, 16, 3), and the flow's histogram, 10 speeds × 8 directions."""
    frames = [cv2.resize(frame, (96, 72), interpolation=cv2.INTER_AREA) for frame in render(clip)]
    grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames]
    flow = np.stack(
        [
            cv2.calcOpticalFlowFarneback(*two, None, 0.5, 3, 15, 3, 5, 1.2, 0)
            for two in itertools.pairwise(grey)
        ]
    )
    speed, angle = np.hypot(flow[..., 0], flow[..., 1]), np.arctan2(flow[..., 1], flow[..., 0])
    edges = [0, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 100], np.linspace(-np.pi, np.pi, 9)
    histogram = np.histogram2d(speed.ravel(), angle.ravel(), edges)[0] / speed.size
    mean = cv2.resize(np.mean(frames, axis=0).astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA)
    still = cv2.resize(frames[len(frames) // 2], (16, 16), interpolation=cv2.INTER_AREA)
    return still, mean, histogram


def test_neither_a_still_frame_nor_a_histogram_of_flow_tells_the_actions_apart() -> None:
    """Ten persons, every one judged by a probe that never saw them; five actions, so 0.2 is chance."""
    clips = bench_clips(BenchParams(persons=10, videos=1, clips=1, seconds=6.0, fps=4.0))
    still, mean, histogram = (
        np.stack(features).reshape(len(clips), -1) for features in zip(*map(cues, clips), strict=True)
    )
    actions, persons = [clip.action for clip in clips], [clip.person for clip in clips]

    def macro_f1(features: Array) -> float:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        with threadpool_limits(1):
            told = cross_val_predict(probe, features, actions, groups=persons, cv=GroupKFold(5))
        return float(f1_score(actions, told, average="macro"))

    together = np.hstack([still, mean, histogram])
    scores = [macro_f1(each) for each in (still, mean, histogram, together)]
    assert max(scores) < 0.65, scores
