"""Cameras for benchmarks: `python -m benchmarks.streams FILE` sends a clip over HTTP, again and again.

It is MPEG-TS in real time, without end. The timestamp of a frame is the time at which it was sent: seconds
since 1970, modulo CLOCK. The first line that is printed is the address.
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import av

CLOCK = 40_000.0
"""Seconds after which timestamps begin anew, since those of MPEG-TS have 33 bits."""


class Camera(BaseHTTPRequestHandler):
    """Sends the packets of `file` as they are due."""

    file: Path

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        options = {"mpegts_copyts": "1", "flush_packets": "1"}
        try:
            with av.open(self.wfile, "w", format="mpegts", options=options) as out:
                self._send(out)
        except (OSError, av.error.FFmpegError):  # it hung up
            return

    def _send(self, out: Any) -> None:
        begin = time.time()
        stream = None
        for turn in count():
            with av.open(str(self.file)) as clip:
                video: Any = clip.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(video)
                length = float(video.duration * video.time_base)
                for packet in clip.demux(video):
                    if packet.pts is None:
                        continue
                    due = begin + turn * length + float(packet.pts * packet.time_base)
                    time.sleep(max(0.0, due - time.time()))
                    packet.pts = packet.dts = round((due % CLOCK) / packet.time_base)
                    packet.stream = stream
                    out.mux(packet)

    def log_message(self, *_: object) -> None: ...


def main(file: str) -> None:
    Camera.file = Path(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}/camera", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
