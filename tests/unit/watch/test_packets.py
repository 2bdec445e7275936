"""A stream's packets give the frames of a window again, with the bytes that were shown; memory is bounded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from slimstream.core.media import Frame, UnreadableVideo
from slimstream.watch import packets as module
from slimstream.watch.late import Lateness
from slimstream.watch.packets import Packets
from slimstream.watch.stream import stream_shots
from tests.unit.watch import tiny

Shown = list[tuple[float, Frame]]
H264 = {"preset": "ultrafast", "g": "10", "bf": "2", "b-pyramid": "none"}


def film(path: Path, codec: str = "libx264", options: dict[str, str] | None = None, count: int = 45) -> Path:
    """Frames that all differ; each third of a stream of H.264 is of another key frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=H264 if options is None else options)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(count):
            picture = tiny.flat((5 * number, 250 - 5 * number, 90), (48, 64))
            picture[:, number : number + 9] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def watched(address: str, packets: Packets, until: int | None = None) -> Shown:
    """The frames shown, all or the first `until`."""
    shown = []
    for seconds, picture in stream_shots(address, Lateness(), packets):
        shown.append((seconds, picture()))
        if len(shown) == until:
            break
    return shown


def same(one: Shown, other: Shown) -> bool:
    return len(one) == len(other) and all(
        a == b and np.array_equal(p, q) for (a, p), (b, q) in zip(one, other, strict=True)
    )


def test_frames_of_a_window_are_had_again_with_their_times_and_bytes(tmp_path: Path) -> None:
    film(tmp_path / "a.ts"), film(tmp_path / "a.mkv")
    for name in ("a.ts", "a.mkv"):
        packets = Packets()
        with served(tmp_path) as address:
            shown = watched(f"{address}/{name}", packets, until=36)
        window = shown[13:36:2]  # begins within a group of pictures; `fps` leaves out every other frame
        take = packets.take([seconds for seconds, _ in window])
        assert take and same(list(take()), window) and same(list(take()), window)
        held = [packet.key for packet in packets._packets]
        assert held[0] and sum(held) == 3 and len(held) < 30  # from the key frame before the window on
        assert packets._bytes == sum(len(packet.data) for packet in packets._packets)


def test_pictures_over_http_are_packets_too(tmp_path: Path) -> None:
    packets = Packets()
    numbers = iter(range(40))

    def colour() -> tuple[int, int, int] | None:
        number = next(numbers, None)
        return None if number is None else (6 * number, 90, 90)

    with tiny.http_camera(colour) as address:
        shown = watched(address, packets, until=20)
    take = packets.take([seconds for seconds, _ in shown[8:]])
    assert take and same(list(take()), shown[8:])
    assert len(packets._packets) <= 14


def test_what_is_too_far_from_a_key_frame_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = film(tmp_path / "a.ts", options=H264 | {"g": "40"})
    monkeypatch.setattr(module, "MOST", file.stat().st_size // 4)
    packets = Packets()
    with served(tmp_path) as address:
        shown = watched(f"{address}/a.ts", packets)
    assert packets._bytes <= module.MOST
    assert packets.take([shown[10][0]]) is None  # no window of there can be kept
    take = packets.take([seconds for seconds, _ in shown[41:44]])
    assert take and same(list(take()), shown[41:44])  # but again after the next key frame


def test_damage_after_all_is_an_error_and_no_shorter_clip(tmp_path: Path) -> None:
    packets = Packets()
    film(tmp_path / "a.ts")
    with served(tmp_path) as address:
        shown = watched(f"{address}/a.ts", packets, until=20)
    take = packets.take([seconds for seconds, _ in shown[12:]])
    assert take
    packets._codec = "mpeg4"
    with pytest.raises(UnreadableVideo, match="of 8 frames 8 cannot"):
        list(take())
