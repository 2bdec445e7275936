"""What one pass over a clip sees."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from slimstream.core.media import UnreadableVideo
from slimstream.stages.validate.survey import survey
from tests.unit.clips.rendered_clips import boxed, moving, write_picture, write_video

STILL = [(0, 0)] * 12


def test_counts_and_pictures(tmp_path: Path) -> None:
    seen = survey(write_video(tmp_path / "a.avi", moving(STILL)))
    assert len(seen.timeline.times) == 12 and seen.timeline.seconds == pytest.approx(12 / 25)
    assert (seen.size, seen.constant, seen.interlaced, seen.defect) == ((64, 64), True, 0, "")
    assert seen.thumbs.shape == (8, 16, 16) and seen.mean.shape == (16, 16)
    assert seen.thumbs.min() > 0 and seen.thumbs.max() < 1
    assert np.allclose(seen.thumbs[0], seen.mean, atol=0.01)
    assert (seen.border == 0).all()


def test_a_boxed_first_frame_shows_in_the_border_alone(tmp_path: Path) -> None:
    pictures = moving(STILL)
    plain = survey(write_video(tmp_path / "plain.avi", pictures))
    box = survey(write_video(tmp_path / "box.avi", [boxed(pictures[0], left=16), *pictures[1:]]))
    assert box.border == pytest.approx([0.25, 0.25, 0, 0], abs=0.05)
    assert np.allclose(box.thumbs, plain.thumbs) and np.allclose(box.mean, plain.mean)


def test_a_clip_shorter_than_its_thumbnails(tmp_path: Path) -> None:
    seen = survey(write_video(tmp_path / "one.avi", moving([(0, 0)])))
    assert len(seen.timeline.times) == 1 and seen.thumbs.shape == (8, 16, 16)


def test_a_picture_is_its_own_thumbnail(tmp_path: Path) -> None:
    (picture,) = moving([(0, 0)])
    seen = survey(write_picture(tmp_path / "a.png", boxed(picture, left=16)))
    assert seen.still and seen.constant and len(seen.timeline.times) == 1 and seen.timeline.seconds == 0
    assert seen.thumbs.shape == (1, 16, 16) and np.array_equal(seen.thumbs[0], seen.mean)
    assert seen.border == pytest.approx([0.25, 0.25, 0, 0], abs=0.05)


def test_frames_that_change_their_size_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "changing.avi"
    sides = [64] * 8 + [32] * 8
    path.write_bytes(
        b"".join(cv2.imencode(".jpg", np.full((s, s, 3), 99, np.uint8))[1].tobytes() for s in sides)
    )
    seen = survey(path)
    assert len(seen.timeline.times) == 16 and not seen.constant and seen.size == (64, 64)


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100, b"RIFF\x24\x00\x00\x00WAVEfmt "])
def test_what_is_no_video_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableVideo):
        survey(path)
