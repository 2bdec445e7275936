"""Windows of a stream are clips: the bytes that extract makes, one a hop, none across a break."""

import threading
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from slimstream.clips.packs import Pack, pack_clip, pack_frames
from slimstream.clips.params import NetworkInput, Reduction
from slimstream.clips.timeline import Timeline
from slimstream.watch.files import file_recording
from slimstream.watch.late import Lateness
from slimstream.watch.recording import Shots
from slimstream.watch.stream import stream_shots
from slimstream.watch.windows import Window, Windows
from tests.unit.watch import tiny

RATE, LENGTH, HOP = 25, 20, 5
"""Frames a second, in a window, and from one window to the next."""


def write(path: Path, numbers: range) -> Path:
    """A lossless clip of the frames `numbers`, which only depend on their number: a spot that moves."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for place, number in enumerate(numbers):
            picture = np.full((64, 96, 3), 90, np.uint8)
            picture[20:40, 2 * number % 80 :][:, :16] = 230, 40, number % 50
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = place, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(params=["file", "stream"])
def shots(request: pytest.FixtureRequest, tmp_path: Path) -> Shots:
    """40 frames from a file, and from an HTTP server."""
    file = write(tmp_path / "long.mkv", range(40))
    if request.param == "file":
        return file_recording(file).shots
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    request.addfinalizer(server.server_close)
    request.addfinalizer(server.shutdown)
    return stream_shots(f"http://127.0.0.1:{server.server_port}/long.mkv", Lateness())


def pack(window: Window, sees: NetworkInput) -> Pack:
    return pack_frames(window.pictures, Timeline(np.array(window.seconds)), sees).array


@pytest.mark.parametrize(
    "sees",
    [
        NetworkInput(frames=4, size=(32, 48)),
        NetworkInput(fraction=0.5, size=(32, 48), flow="none"),
        NetworkInput(frames=6, clips=2, size=(32, 48), flow="dis", stride=2),
        NetworkInput(frames=4, size=(32, 48), reduce=Reduction(frames=2, size=(16, 24), streams="rgb")),
    ],
    ids=["flow", "pictures", "parts", "reduced"],
)
def test_a_window_has_the_bytes_that_extract_makes_of_such_a_clip(
    shots: Shots, sees: NetworkInput, tmp_path: Path
) -> None:
    windows = Windows(tiny.model(tmp_path / "model", LENGTH / RATE, sees), HOP / RATE)
    found = []
    for seconds, picture in shots:
        windows.add(picture(), seconds)
        if windows.due():
            found.append(windows.window(0.0, 0.0))
    assert len(found) == 1 + (40 - LENGTH) // HOP
    for number, window in enumerate(found):
        assert window is not None and len(window.pictures) == LENGTH
        begin = number * HOP
        clip = write(tmp_path / f"{number}.mkv", range(begin, begin + LENGTH))
        assert np.array_equal(pack(window, sees), pack_clip(clip, sees).array)
    assert not np.array_equal(pack(found[0], sees), pack(found[1], sees))


@pytest.fixture
def windows(tmp_path: Path) -> Windows:
    """A second long, one a second."""
    return Windows(tiny.model(tmp_path / "model", 1.0), 1.0)


def due(windows: Windows, times: list[float]) -> list[float]:
    """Of frames at these times, those that complete a window."""
    found = []
    for time in times:
        windows.add(tiny.flat(tiny.RED), time)
        found += [time] * windows.due()
    return found


def test_one_window_a_hop_however_the_frames_jitter(windows: Windows) -> None:
    rng = np.random.default_rng(0)
    times = (np.arange(0, 5, 0.04) + rng.uniform(-0.015, 0.015, 125)).tolist()
    found = due(windows, times)
    assert len(found) == 5 or (len(found) == 4 and found[-1] < 4.99)
    assert np.allclose(np.diff(found), 1, atol=0.05)


def test_frames_of_a_window_are_all_that_is_kept(windows: Windows) -> None:
    due(windows, [i / 30 for i in range(3000)])
    window = windows.window(0.0, 0.0)
    assert window is not None and len(window.pictures) == len(window.seconds) == 30


@pytest.mark.parametrize("after", [-3600.0, 7200.0, 5.0], ids=["back", "forward", "stall"])
def test_no_window_reaches_across_a_break_of_the_clock(windows: Windows, after: float) -> None:
    assert len(due(windows, [i / 25 for i in range(40)])) == 1
    begin = 39 / 25 + after
    found = due(windows, [begin + i / 25 for i in range(1, 60)])
    assert len(found) == 2 and found[0] == pytest.approx(begin + 1)
    window = windows.window(0.0, 0.0)
    assert window is not None and min(window.seconds) > begin


def test_of_pictures_each_is_a_window(tmp_path: Path) -> None:
    windows = Windows(tiny.model(tmp_path / "model", seconds=0.0), hop=0.5)
    assert due(windows, [0.0, 0.2, 0.4, 0.6, 1.2]) == [0.0, 0.6, 1.2]
    window = windows.window(0.0, 0.0)
    assert window is not None and len(window.pictures) == 1
    assert window.answer()[0]["label"] == "leak"


def test_a_new_network_of_the_same_size_goes_on_with_the_frames_there_are(tmp_path: Path) -> None:
    old = Windows(tiny.model(tmp_path / "old", 1.0), 1.0)
    due(old, [i / 25 for i in range(30)])
    assert Windows(tiny.model(tmp_path / "same", 1.0), 1.0, old).full
    other = tiny.SEES.model_copy(update={"size": (32, 32)})
    assert not Windows(tiny.model(tmp_path / "other", 1.0, other), 1.0, old).full
