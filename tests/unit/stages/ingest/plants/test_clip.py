"""What every simulated plant promises."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from slimstream.clips import video
from slimstream.core.errors import UserError
from slimstream.core.simulated import SIMULATED
from slimstream.stages.ingest.params import BenchParams, IngestParams, PelletsParams, RigParams
from slimstream.stages.ingest.plants.clip import SimulatedClip
from slimstream.stages.ingest.plants.source import PLANTS, PlantSource


def clips(name: str, groups: int = 2, each: int = 1, seed: int = 0) -> dict[str, SimulatedClip]:
    """The clips of a small plant by key, those of videos 0.4 seconds long at most."""
    params = IngestParams(
        rig=RigParams(recordings=groups, clips=each, seconds=0.4, fps=10, seed=seed),
        bench=BenchParams(persons=groups, videos=1, clips=each, seconds=0.4, fps=10, seed=seed),
        pellets=PelletsParams(batches=groups, pictures=each, seed=seed),
    )
    return {clip.key: clip for clip in PLANTS[name](params)}


def test_every_name_has_its_plant() -> None:
    assert PLANTS.keys() == SIMULATED.keys()


@pytest.mark.parametrize("plant", PLANTS)
def test_more_groups_or_clips_leave_the_others_as_they_are(plant: str) -> None:
    few, many = ({key: clip.etag for key, clip in clips(plant, n, n).items()} for n in (2, 3))
    assert len(many) == len(few) / 4 * 9 and few.items() <= many.items()


@pytest.mark.parametrize("plant", PLANTS)
def test_the_same_clip_has_the_same_bytes_and_another_seed_others(plant: str, tmp_path: Path) -> None:
    key = next(iter(clips(plant)))
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        next(iter(clips(plant, seed=seed).values())).write(tmp_path / name / Path(key).name)
    first, again, other = ((tmp_path / name / Path(key).name) for name in ("first", "again", "other"))
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    video.probe(first)


@pytest.mark.parametrize("plant", PLANTS)
def test_another_seed_has_other_groups(plant: str) -> None:
    """So a group that was test with one seed is not taken for one of the other, which has its number."""
    one, other = clips(plant).values(), clips(plant, seed=1).values()
    for column in next(iter(one)).groups:
        assert not {clip.groups[column] for clip in one} & {clip.groups[column] for clip in other}
    assert not {clip.key for clip in one} & {clip.key for clip in other}
    assert not {clip.etag for clip in one} & {clip.etag for clip in other}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_group_has_every_class(plant: str) -> None:
    listing = PlantSource(plant, IngestParams()).list()
    column = min(listing.items[0].groups)  # recording, person, batch
    classes: dict[str, set[str]] = {}
    for item in listing.items:
        classes.setdefault(item.groups[column], set()).add(item.label)
    assert len(classes) >= 10
    assert {len(found) for found in classes.values()} == {len({item.label for item in listing.items})}


@pytest.mark.parametrize("plant", PLANTS)
def test_where_nothing_can_be_written_is_one_sentence(plant: str, tmp_path: Path) -> None:
    key, clip = next(iter(clips(plant).items()))
    target = tmp_path / "nowhere" / Path(key).name
    with pytest.raises(UserError, match="cannot write a"):
        clip.write(target)


def test_a_picture_is_as_the_paper_has_it(tmp_path: Path) -> None:
    next(iter(clips("pellets").values())).write(tmp_path / "a.png")
    assert np.asarray(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)).shape == (50, 50)
