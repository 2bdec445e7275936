"""Small streams and networks for the tests of `watch`."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg

from slimstream.clips.params import NetworkInput
from slimstream.runtimes.base import Form, write_forms
from slimstream.watch.model import Model, load_model
from tests.unit.finished_pipeline import CLASSES, network

Picture = npt.NDArray[np.uint8]
SEES = NetworkInput(frames=2, size=(16, 24), flow="none")
RED, BLUE = (200, 60, 60), (60, 60, 200)
"""Leak and normal."""


def export(folder: Path, seconds: float | None = 0.32, sees: NetworkInput = SEES, red: float = 9) -> Path:
    """A deployed network that tells red (leak) from blue (normal)."""
    network(folder / "network.onnx", red, channels=sees.channels)
    form = Form("onnx", changed=0, off=0, megabytes=0.1, latency_p50_ms=1, latency_p95_ms=1)
    write_forms(folder, form, [form])
    card = {"classes": CLASSES, "extract": sees.model_dump(mode="json"), "seconds": seconds}
    (folder / "preprocessing.json").write_text(json.dumps(card))
    return folder


def model(folder: Path, seconds: float = 0.32, sees: NetworkInput = SEES) -> Model:
    return load_model(export(folder, seconds, sees), "tiny 1", None, None)


def flat(colour: tuple[int, int, int], size: tuple[int, int] = (24, 32)) -> Picture:
    return np.full((*size, 3), colour, np.uint8)


@contextmanager
def http_camera(
    colour: Callable[[], tuple[int, int, int] | None],
    fps: float = 50,
    size: Callable[[], tuple[int, int]] = lambda: (24, 32),
    spoil: Callable[[bytes], bytes] = lambda jpeg: jpeg,
    draw: Callable[[tuple[int, int, int], tuple[int, int]], Picture] = flat,
) -> Iterator[str]:
    """A camera that sends JPEG pictures of a colour over HTTP for as long as `colour` gives one.

    `size` is their height and width, `spoil` what happens to them on their way,
    `draw` makes a picture of a colour and a size.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if colour() is None:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            while (seen := colour()) is not None:
                jpeg = spoil(simplejpeg.encode_jpeg(draw(seen, size())))
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return
                time.sleep(1 / fps)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live"
    finally:
        server.shutdown()
        server.server_close()


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until `true()` is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
