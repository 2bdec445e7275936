"""What `predict --overlay` draws, and where it looks."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from slimstream.cli.parser import main
from slimstream.core.paths import Paths
from slimstream.serving import overlay
from slimstream.serving.classifier import ClipClassifier
from slimstream.serving.occlusion import CELLS, occlusion_map
from tests.unit.finished_pipeline import write_clips, write_evaluation


def looks_at_the_top_left(clips: np.ndarray) -> np.ndarray:
    """Class 1, by the brightness of that quarter alone."""
    p = 0.5 + clips[:, :, :8, :8].mean((1, 2, 3, 4)) / 600
    return np.stack([1 - p, p], axis=1)


def test_the_map_is_warm_where_the_network_looks() -> None:
    clip = np.zeros((3, 16, 16, 1), np.uint8)
    clip[:, :4, :4] = 255
    clip[:, 12:, 12:] = 255  # as bright, but the network does not see it
    heat = occlusion_map(looks_at_the_top_left, clip, target=1, at_once=5)
    assert heat.shape == (CELLS, CELLS) and heat[0, 0] == heat.max() > 0
    assert not heat[5:].any() and not heat[:, 5:].any()
    assert heat.max() < 0.5  # the odds hardly change: the map stays faint
    other = occlusion_map(looks_at_the_top_left, clip, target=0)
    assert other[0, 0] == 0 < other[1, 3]  # what is dark there speaks for the other class


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = Paths(tmp_path_factory.mktemp("plant"))
    write_clips(paths, {"east": "test"}, per_class=1)
    write_evaluation(paths, red=9)
    return paths


def test_clips_are_drawn_on_and_nothing_is_written_over(
    plant: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, folder = plant.ingested / "east-leak-0.mp4", tmp_path / "drawn"
    twin = tmp_path / clip.name
    twin.write_bytes(clip.read_bytes())
    ask = ["predict", "--model", str(plant.export("distilled")), "--workers", "1", "--overlay", str(folder)]
    assert main([*ask, str(clip), str(tmp_path / "gone.mp4"), str(twin)]) == 1
    assert sorted(file.name for file in folder.iterdir()) == ["east-leak-0-2.mp4", "east-leak-0.mp4"]
    with av.open(str(folder / clip.name)) as drawn:
        frames = [frame.to_ndarray(format="rgb24") for frame in drawn.decode(video=0)]
        assert float(drawn.streams.video[0].average_rate or 0) == 25
    assert len(frames) == 8 and frames[0].shape == (288, 320, 3)  # a line of text above
    assert frames[0][:48].max() > 200 > 50 > frames[0][:48].min()
    assert main([*ask, str(clip)]) == 2
    assert "drawn is there already and not empty" in capsys.readouterr().err


def test_an_unknown_clip_shows_its_most_probable_class() -> None:
    row = {"path": "a.mp4", "label": "unknown", "p_leak": 0.9, "p_normal": 0.1, "unlikeness": 2.0}
    assert overlay.answer_text(row) == ("leak", "unknown, else leak  90%")
    assert overlay.answer_text(row | {"label": "leak"}) == ("leak", "leak  90%")


def test_a_picture_becomes_a_picture(plant: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "parallel_map", lambda work, jobs, workers: enumerate(map(work, jobs)))
    monkeypatch.setattr(ClipClassifier, "explain", lambda self, file, label: np.eye(CELLS))
    file = tmp_path / "Lüftung 1.png"
    cv2.imencode(".png", np.full((500, 300, 3), 128, np.uint8))[1].tofile(file)
    said = [{"label": "leak", "p_leak": 0.93}]
    assert not overlay.write_overlays([file], said, plant.export("distilled"), None, tmp_path / "out")
    drawn = cv2.imdecode(np.fromfile(tmp_path / "out/Lüftung 1.png", np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (548, 300, 3)
    spread = drawn[48:].astype(int).max(2) - drawn[48:].astype(int).min(2)
    assert spread[50, 30] > 50 > 5 > spread[50, 250]  # colour where the map is warm, grey elsewhere
