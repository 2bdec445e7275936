"""What may be watched: each kind of source gives frames in order, and a wrong one says what is wrong."""

import os
import threading
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import cv2
import pytest

from slimstream.core.errors import UserError
from slimstream.core.media import UnreadableVideo
from slimstream.watch import files
from slimstream.watch.late import Lateness
from slimstream.watch.recording import Source
from slimstream.watch.rig import rig_clips
from slimstream.watch.sources import captured, open_source
from tests.unit.finished_pipeline import render
from tests.unit.watch import tiny


def opened(address: str | Path, progress: Path = Path("progress")) -> Source:
    return open_source(str(address), progress, Lateness())


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("gone.mp4", "neither a file nor a folder"),
        ("ftp://host/a", "ftp:// is no source; there are rtsp"),
        ("rig://one", "rig://NUMBER"),
        ("rig://1?script=normal:5,leak:5", "air_leakage, diverted_flow, normal"),
        ("rig://1?sript=normal:5", "rig://NUMBER"),
        ("rig://1?fps=0", "rig://NUMBER"),
    ],
)
def test_what_cannot_be_a_source_is_refused_at_once(address: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        opened(address)


def test_a_file_is_one_recording_that_ended_when_it_was_written(tmp_path: Path) -> None:
    render(tmp_path / "a.mp4", "leak", 1.0)
    os.utime(tmp_path / "a.mp4", (1000, 1000))
    source = opened(tmp_path / "a.mp4")
    (recording,) = source.recordings(threading.Event())
    shots = [(seconds, picture().shape) for seconds, picture in recording.shots]
    assert not source.live and recording.began == pytest.approx(1000 - 8 / 25)
    assert shots == [(pytest.approx(i / 25), (24, 32, 3)) for i in range(8)]


def test_a_folder_is_read_oldest_first_and_never_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOOK", 0.05)
    folder, stop, seen = tmp_path / "in", threading.Event(), list[int]()

    def arrive(name: str, age: int) -> None:
        render(folder / name, "leak", 1.0)
        os.utime(folder / name, (age, age))

    def read() -> None:
        for recording in opened(folder, tmp_path / "progress").recordings(stop):
            assert recording.began is not None
            seen.append(round(recording.began + 8 / 25))

    def reading(until: list[int]) -> None:
        stop.clear()
        thread = threading.Thread(target=read)
        thread.start()
        tiny.until(lambda: len(seen) >= len(until))
        time.sleep(0.2)
        stop.set()
        thread.join()
        assert seen == until

    arrive("z.mp4", 100), arrive("deeper/a.mp4", 200)
    reading([100, 200])
    arrive("b.mp4", 300)
    reading([100, 200, 300])
    ahead = round(time.time()) + 1_000_000  # the clock of a recorder was wrong once
    arrive("c.mp4", ahead)
    reading([100, 200, 300, ahead])
    arrive("d.mp4", 150)  # copied with the time that it had
    reading([100, 200, 300, ahead, 150])
    arrive("b.mp4", 301)  # written anew
    reading([100, 200, 300, ahead, 150, 301])


def test_cameras_of_the_rig_begin_at_different_places_of_the_script() -> None:
    first = [next(rig_clips(f"rig://{n}?script=normal:1,air_leakage:2")) for n in (40, 41)]
    assert [(clip.state, clip.seconds, clip.recording) for clip in first] == [
        ("normal", 1, 40),
        ("air_leakage", 2, 41),
    ]


def test_the_rig_plays_its_script_for_ever_in_real_time() -> None:
    (recording,) = opened("rig://40?script=normal:0.2,air_leakage:0.1&fps=20").recordings(threading.Event())
    begin = time.monotonic()
    shots = list(islice(recording.shots, 14))
    assert [seconds for seconds, _ in shots] == pytest.approx([i / 20 for i in range(14)])
    assert time.monotonic() - begin >= 13 / 20
    picture = shots[0][1]()
    assert picture.dtype == "uint8" and picture.shape[2] == 3


def test_a_stream_over_http_gives_frames_in_the_moment_they_come() -> None:
    with tiny.http_camera(lambda: tiny.RED) as address:
        (recording,) = opened(address).recordings(threading.Event())
        shots = [(seconds, picture()) for seconds, picture in islice(recording.shots, 5)]
    assert abs(shots[-1][0] - time.monotonic()) < 5
    assert abs(shots[0][1].mean((0, 1)) - tiny.RED).max() < 4


def test_a_playlist_names_no_file_of_this_computer(tmp_path: Path) -> None:
    import http.server
    from functools import partial

    render(tmp_path / "secret.ts", "leak", 1.0)
    lines = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(lines)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/list.m3u8"
        (recording,) = opened(address).recordings(threading.Event())
        with pytest.raises((OSError, ValueError)):
            next(recording.shots)
        server.shutdown()


def test_a_capture_device_is_read_by_opencv(tmp_path: Path) -> None:
    """No device here: OpenCV reads a file in its place."""
    render(tmp_path / "a.mp4", "leak", 1.0)
    shots = list(captured(cv2.VideoCapture(str(tmp_path / "a.mp4")), "camera"))
    assert len(shots) == 8
    red, _, blue = shots[0][1]().mean((0, 1))
    assert red > 2 * blue
    (recording,) = opened("/dev/video99").recordings(threading.Event())
    with pytest.raises(UnreadableVideo, match="/dev/video99"):
        next(recording.shots)


def test_pictures_that_come_slower_than_ffmpeg_thinks_are_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of MJPEG it invents 25 a second; here are fewer, for longer than a slow machine is waited for."""
    monkeypatch.setattr("slimstream.watch.late.PERIOD", 0.2)
    monkeypatch.setattr("slimstream.watch.late.BEHIND", 0.1)
    lateness, pictures = Lateness(), iter([tiny.RED] * 20)
    with tiny.http_camera(lambda: next(pictures, None), fps=10) as address:
        (recording,) = open_source(address, Path("progress"), lateness).recordings(threading.Event())
        seen = 0
        with suppress(OSError):  # the camera hangs up
            for _ in recording.shots:
                seen += 1
    assert seen >= 18 and not lateness.behind  # of 20, one is asked for beforehand, and the last may be lost
