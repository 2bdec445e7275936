"""Kinds of video that recorders and telephones write, and files that are none."""

import os
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from slimstream.clips.packs import pack_clip
from slimstream.clips.params import ExtractParams
from slimstream.clips.video import VideoReader, frames, probe
from slimstream.core.media import UnreadableVideo
from slimstream.stages.validate.survey import survey
from tests.unit.clips.rendered_clips import encode, moving, texture

STEPS = moving([(k, 0) for k in range(50)])
"""50 pictures of 64 by 64 pixels; the content moves one pixel to the right in each."""


def close(one: Any, other: Any) -> bool:
    """Whether two pictures are the same but for lossy coding."""
    return bool(np.abs(one.astype(int) - other).mean() < 9)


def test_interlaced_frames_are_made_whole(tmp_path: Path) -> None:
    half = moving([(4 * k, 0) for k in range(24)])
    fields = [np.where(np.arange(64)[:, None, None] % 2, half[2 * k + 1], half[2 * k]) for k in range(12)]
    path = encode(
        tmp_path / "a.mp4", fields, options={"flags": "+ildct+ilme", "x264-params": "tff=1", "bf": "0"}
    )
    assert probe(path).interlaced and survey(path).interlaced == 12
    with VideoReader(path) as clip:
        seen = [clip.picture() for _ in clip]
    combed, whole = (np.abs(np.diff(p[6].astype(int), axis=0)).mean() for p in (fields, seen))
    assert len(seen) == 12 and whole < 0.6 * combed
    assert [p.tobytes() for p in seen] == [p.tobytes() for _, p in frames(path)]


def test_a_clip_that_turns_interlaced_keeps_its_frames(tmp_path: Path) -> None:
    interlaced = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    parts = [
        encode(tmp_path / "a.h264", STEPS[:9]),
        encode(tmp_path / "b.h264", STEPS[9:15], options=interlaced),
    ]
    path = tmp_path / "both.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with VideoReader(path) as clip:
        seen = [clip.picture() for _ in clip]
    assert len(seen) == 15 and clip.interlaced == 6
    assert all(close(picture, STEPS[k]) for k, picture in enumerate(seen))


@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        (8, "YCgCo"),
        (10, "BT.2020 constant luminance"),
        (11, "SMPTE 2085"),
        (12, "chromaticity"),
        (14, "ICtCp"),
    ],
)
def test_a_colour_matrix_that_cannot_be_converted_is_named(matrix: int, name: str, tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", STEPS[:5], matrix=matrix)
    for look in (
        survey,
        lambda p: list(frames(p)),
        lambda p: pack_clip(p, ExtractParams(frames=2, size=(32, 32))),
    ):
        with pytest.raises(UnreadableVideo, match=f"colour matrix {name}"):
            look(path)


@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9])
def test_a_colour_matrix_that_can_be_converted_is(matrix: int, tmp_path: Path) -> None:
    grey = [np.repeat(picture[..., :1], 3, axis=2) for picture in STEPS[:5]]
    seen = [picture for _, picture in frames(encode(tmp_path / "a.mp4", grey, matrix=matrix))]
    assert close(seen[2], grey[2]) and np.ptp(seen[2].astype(int), axis=2).max() <= 2  # grey stays grey


def test_frames_that_an_edit_list_hides_are_left_out(tmp_path: Path) -> None:
    """As `ffmpeg -ss 0.5 -c copy` writes it: the file holds 50 frames, 37 are to be shown."""
    times = [(k - 13) / 25 for k in range(50)]
    path = encode(tmp_path / "cut.mp4", STEPS, times=times, options={"bf": "0"})
    seen = survey(path)
    assert probe(path).frames == 50 and len(seen.timeline.times) == 37 and seen.defect == ""
    assert close(next(frames(path))[1], STEPS[13])
    assert pack_clip(path, ExtractParams(frames=4, size=(64, 64))).seconds == pytest.approx(37 / 25)


@pytest.mark.parametrize("fps", [2000, 240])
def test_high_speed_video_keeps_its_rate(fps: int, tmp_path: Path) -> None:
    seen = survey(encode(tmp_path / "a.mp4", STEPS, fps=fps))
    assert seen.timeline.seconds == pytest.approx(50 / fps, rel=1e-3)


def test_time_lapse_video_keeps_its_length(tmp_path: Path) -> None:
    seen = survey(encode(tmp_path / "a.mp4", STEPS[:25], times=[60.0 * k for k in range(25)]))
    assert seen.timeline.period == pytest.approx(60) and seen.timeline.seconds == pytest.approx(1440, abs=61)
    assert seen.defect == ""


def test_the_largest_track_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        for side in (32, 64):
            stream = container.add_stream("ffv1", rate=25)
            stream.height = stream.width = side
            stream.pix_fmt = "yuv420p"
        for stream in container.streams.video:
            for number in range(5):
                frame = av.VideoFrame.from_ndarray(texture(stream.width), format="rgb24").reformat(
                    format="yuv420p"
                )
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    assert (probe(path).width, len(list(frames(path)))) == (64, 5)


@pytest.mark.parametrize(("turned", "turns"), [(90, 1), (-90, -1), (180, 2)])
def test_a_telephone_held_upright_is_turned(turned: int, turns: int, tmp_path: Path) -> None:
    flat = [picture[:48] for picture in STEPS[:5]]
    path = encode(tmp_path / "a.mp4", flat, turned=turned)
    (_, first), *_ = frames(path)
    assert close(first, np.rot90(flat[0], turns))
    assert survey(path).size == first.shape[:2]


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), lambda flat: flat[:, ::-1]),
        ((1, 0, 0, -1), lambda flat: flat[::-1]),
        ((0, 1, 1, 0), lambda flat: flat.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda flat: flat[::-1, ::-1].transpose(1, 0, 2)),
    ],
)
def test_a_mirrored_clip_is_mirrored_back(matrix: tuple[int, ...], shown: Any, tmp_path: Path) -> None:
    """As cameras on the front of telephones write it."""
    flat = [picture[:48] for picture in STEPS[:5]]
    path = encode(tmp_path / "a.mp4", flat)
    data = bytearray(path.read_bytes())
    a, b, c, d = (number << 16 for number in matrix)
    struct.pack_into(">9i", data, data.find(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    assert close(next(frames(path))[1], shown(flat[0]))


def test_a_track_that_begins_later_is_whole(tmp_path: Path) -> None:
    """Matroska counts lengths from zero: a clip that begins at second 10 and lasts 2 has a length of 12."""
    path = encode(tmp_path / "late.mkv", STEPS, times=[10 + k / 25 for k in range(50)])
    assert probe(path).duration == pytest.approx(2, abs=0.05) and survey(path).defect == ""


def test_a_stream_cut_between_key_frames_and_joined_is_whole(tmp_path: Path) -> None:
    """Of MPEG-TS: what comes before the first key frame is not shown; each part has its own clock."""
    parts = [
        encode(
            tmp_path / f"{start}.ts", STEPS, times=[start + k / 25 for k in range(50)], options={"g": "10"}
        )
        for start in (5, 7200, 1)
    ]
    path = tmp_path / "joined.ts"
    first = parts[0].read_bytes()
    path.write_bytes(first[len(first) // 4 // 188 * 188 :] + b"".join(p.read_bytes() for p in parts[1:]))
    seen = survey(path)
    assert seen.defect == "" and 125 < len(seen.timeline.times) < 150
    assert seen.timeline.seconds == pytest.approx(len(seen.timeline.times) / 25, abs=0.5)


def test_av1_decodes(tmp_path: Path) -> None:
    # SVT-AV1 gives the thread that calls it real-time priority, if it may: one that ends with the clip.
    with ThreadPoolExecutor(1) as thread:
        path = thread.submit(
            encode, tmp_path / "a.mp4", STEPS[:10], "libsvtav1", options={"svtav1-params": "lp=1"}
        ).result()
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    assert probe(path).codec == "av1" and close(next(frames(path))[1], STEPS[0])


@pytest.mark.parametrize("suffix", ["mp4", "txt", "m3u8", "mkv"])
@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile {}\n", "#EXTM3U\n#EXTINF:1,\n{}\n", "<smil>{}</smil>", "{}"]
)
def test_a_text_that_names_a_video_is_none(text: str, suffix: str, tmp_path: Path) -> None:
    encode(tmp_path / "real.mp4", STEPS[:5])
    path = tmp_path / f"list.{suffix}"
    path.write_text(text.format("real.mp4"))
    with pytest.raises(UnreadableVideo, match="no video"):
        probe(path)


def damage(path: Path, where: float, length: int) -> None:
    data = bytearray(path.read_bytes())
    start = int(where * len(data))
    data[start : start + length] = np.random.default_rng(0).bytes(length)
    path.write_bytes(data)


def test_a_hole_in_the_stream_is_damage_up_to_the_next_key_frame(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.ts", STEPS, options={"g": "50", "bf": "0"})
    damage(path, 0.3, 2000)
    assert "damaged: " in survey(path).defect
    with pytest.raises(UnreadableVideo, match=r"damaged: .* of .* frames lack a part"):
        pack_clip(path, ExtractParams(frames=4, size=(64, 64)))


def test_a_clip_of_three_frames_may_not_be_damaged_all_over(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.ts", [texture(64, seed) for seed in range(3)], options={"bf": "0"})
    damage(path, 0.3, 3000)
    assert survey(path).defect.startswith("damaged: ")


def test_frames_that_cannot_be_decoded_at_all_are_damage(tmp_path: Path) -> None:
    """Each is a key frame, so that the others are whole."""
    path = encode(tmp_path / "a.avi", STEPS[:30], "mjpeg", pixels="yuvj420p")
    assert survey(path).defect == ""
    data = bytearray(path.read_bytes())
    starts = [found.start() for found in re.finditer(b"\xff\xd8\xff", data)]
    for start in starts[5::5]:
        scan = data.find(b"\xff\xda", start)
        data[scan - 60 : scan] = bytes(60)
    path.write_bytes(data)
    assert survey(path).defect == "damaged: 5 of 30 frames lack a part or all"


def test_a_scratch_is_borne(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.ts", STEPS, options={"g": "3", "bf": "0"})
    damage(path, 0.5, 100)
    assert survey(path).defect == ""


VARIABLE = [*(k / 25 for k in range(25)), *(1.0 + 3 * k for k in range(1, 5))]
"""A second of 25 frames, then one every three seconds."""


def test_a_clip_of_variable_rate_is_sampled_by_time(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", STEPS[:29], times=VARIABLE)
    packed = pack_clip(path, ExtractParams(frames=8, size=(64, 64), flow="none"))
    assert packed.seconds == pytest.approx(13, abs=0.2)
    shown = [min(range(29), key=lambda k: np.abs(STEPS[k].astype(int) - row).mean()) for row in packed.array]
    assert shown == [0, 24, 24, 25, 26, 26, 27, 28]


def test_where_frames_are_missing_there_is_no_flow(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", STEPS[:29], times=VARIABLE)
    with pytest.raises(ValueError, match=r"it has gaps: about second .* no two frames are 0\.04 s apart"):
        pack_clip(path, ExtractParams(frames=8, size=(64, 64)))


def test_a_dropped_frame_moves_its_pair_by_little(tmp_path: Path) -> None:
    """Content moves a pixel a frame: flow over a missing frame would show two."""
    kept = [k for k in range(50) if k not in (13, 24, 25, 37)]
    path = encode(tmp_path / "a.mp4", [STEPS[k] for k in kept], times=[k / 25 for k in kept])
    for frames_ in (5, 40):
        packed = pack_clip(path, ExtractParams(frames=frames_, size=(64, 64), bound=4))
        x = (packed.array[..., 8:-8, 8:-8, 3].astype(float) - 128) * 4 / 127
        assert np.abs(x.mean(axis=(1, 2)) - 1).max() < 0.25
