"""The recipe `auto`: a params.yaml for a source that nobody described, with a reason for every choice."""

from pathlib import Path

import pytest

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.pipeline import auto
from slimstream.pipeline.auto import auto_params
from slimstream.pipeline.params import Params, load_params
from tests.unit.clips.rendered_clips import moving, texture, write_picture, write_video

RECIPES = Path(__file__).parents[3] / "recipes"


def made(root: Path, source: str) -> tuple[Params, str]:
    """The settings for `root/source`, and the file as one line of words."""
    paths = Paths(root)
    text = auto_params(source, RECIPES, paths)
    paths.params.write_text(text)
    return load_params(paths.params), " ".join(text.replace("#", "").split())


def test_videos_of_cameras(tmp_path: Path) -> None:
    still = moving([(0, 0)] * 5)
    for label in ("läuft", "steht still"):
        for camera in range(3):
            for number in range(2):
                path = tmp_path / f"Meine Übung/{label}/cam{camera} {number}.avi"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_video(path, still, fps=50)
    params, said = made(tmp_path, "Meine Übung")
    assert params.recipe == "auto" and params.ingest.source == "Meine Übung"
    assert params.split.group_by == ["camera"] and params.ingest.columns
    assert params.extract.flow == "farneback" and params.extract.stride == 10  # 0.2 s
    assert (params.split.train, params.split.test) == (0.5, 0.5) and "-Meine-Ubung-" in params.publish.name
    assert params.publish.gate.min_saving == 0
    assert "auto: 12 videos of 2 classes (läuft 6, steht still 6); those looked at (5) have 64 × 64" in said
    assert "auto: The file names hold a camera by its number" in said
    assert "auto: of so few clips half are test" in said
    assert "auto: at 25 fps" not in said and "auto: what the backbones" not in said
    assert "tank: what the backbones were pretrained at" in said and "begin with 'tank:'" in said
    assert "fixed cameras: pretraining decides" not in said, "what the recipe tank says of its clips"


def pictures(root: Path, count: int) -> None:
    for number in range(count):
        write_picture(root / f"plant/{'ab'[number % 2]}/x{number}{'pq'[number % 2]}.png", texture(32, number))


@pytest.mark.parametrize(("many", "size"), [(21, (224, 224)), (20, (128, 128))])
def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int, size: tuple[int, int]) -> None:
    monkeypatch.setattr(auto, "MANY_PICTURES", many)
    pictures(tmp_path, 20)
    params, said = made(tmp_path, "plant")
    assert params.train.model == "efficientnet_frames" and params.extract.flow == "none"
    assert params.extract.size == size and params.search.sizes is not None and params.search.sizes[0] == size
    assert params.split.group_by == [] and params.split.test == 0.5
    assert "scores may be flattered" in said and "auto: frames of about" not in said
    assert ("so few pictures" in said) == (many > 20)


def test_a_split_that_came_with_the_data_leaves_the_shares_alone(tmp_path: Path) -> None:
    for number in range(12):
        part, label = ("train", "test")[number % 3 == 0], "ab"[number % 2]
        write_picture(tmp_path / f"plant/{part}/{label}/{number}{'pqr'[number % 3]}.png", texture(32, number))
    params, said = made(tmp_path, "plant")
    assert params.split.given == "given" and "half are test" not in said


def test_a_bad_file_is_no_hindrance(tmp_path: Path) -> None:
    for number in range(6):
        path = tmp_path / f"plant/{'ab'[number % 2]}/{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("no video")
    params, said = made(tmp_path, "plant")
    assert params.extract.stride == 5 and "those looked at" not in said


@pytest.mark.parametrize(
    ("source", "begin"),
    [
        ("/data/a/clips/", "a-clips-"),
        ("clips", "plant-clips-"),
        ("s3://plant/2026", "plant-2026-"),
        ("/data/Guß/Übung 1", "Guss-Ubung-1-"),
        ("/data/фото/видео", "auto-"),
        ("/", "auto-"),
    ],
)
def test_a_model_is_named_after_its_source(tmp_path: Path, source: str, begin: str) -> None:
    name = auto.model_name(source, Paths(tmp_path / "plant"))
    assert name.startswith(begin) and len(name) == len(begin) + 4


def test_sources_whose_paths_end_alike_become_different_models(tmp_path: Path) -> None:
    home = Paths(tmp_path / "a")
    sources = ["/x/a/clips", "/y/a/clips", "/x-a/clips", "clips", "s3://a/clips", "/b/фото", "/b/видео"]
    assert len({auto.model_name(source, home) for source in sources}) == len(sources)
    whole = str(tmp_path / "a/clips")
    assert (
        auto.model_name(whole, home) == auto.model_name("clips", home) == auto.model_name("../a/clips/", home)
    )


@pytest.mark.parametrize("source", [None, "rig"])
def test_without_clips_it_has_nothing_to_look_at(tmp_path: Path, source: str | None) -> None:
    with pytest.raises(UserError, match="make run SOURCE="):
        auto_params(source, RECIPES, Paths(tmp_path))
