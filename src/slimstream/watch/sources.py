"""Sources by their address: files, folders, streams, capture devices and the simulated rig."""

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2

from slimstream.core.errors import UserError
from slimstream.core.media import UnreadableVideo
from slimstream.watch.files import file_recording, folder_recordings
from slimstream.watch.footage import Jpegs
from slimstream.watch.late import Lateness
from slimstream.watch.packets import Packets
from slimstream.watch.recording import Recording, Shots, Source
from slimstream.watch.rig import rgb, rig_clips, rig_frames
from slimstream.watch.stream import stream_shots

STREAMS = ("rtsp", "rtsps", "http", "https")


def is_stream(address: str) -> bool:
    """Whether the source at `address` is a stream of packets, as of a camera in the network."""
    return address.partition("://")[0] in STREAMS


def open_source(address: str, progress: Path, lateness: Lateness, again: bool = False) -> Source:
    """The source at `address`; nothing is opened before its recordings are asked for.

    Args:
        address: see `CameraParams.source`, with its variables replaced.
        progress: a file that notes which files of a folder were read.
        lateness: told of the packets of a stream.
        again: whether its recordings have footage.

    Raises UserError for an address that cannot be a source, and for a file that is not there.
    """
    scheme = address.partition("://")[0] if "://" in address else ""
    if scheme == "rig":
        next(rig_clips(address))
        return _live(partial(rig_frames, address), again)
    if is_stream(address):
        return Source(lambda stop: iter([_stream(address, lateness, again)]), live=True)
    if scheme:
        raise UserError(f"{scheme}:// is no source; there are {', '.join(STREAMS)}, rig, files and folders.")
    if re.fullmatch(r"/dev/video\d+", address):
        return _live(partial(_device_shots, address), again)
    path = Path(address)
    if path.is_dir():
        return Source(partial(folder_recordings, path, progress), live=False, fills=True)
    if not path.is_file():
        raise UserError(f"{path} is neither a file nor a folder.")
    return Source(lambda stop: iter([file_recording(path)]), live=False)


def _stream(address: str, lateness: Lateness, again: bool) -> Recording:
    packets = Packets() if again else None
    return Recording(stream_shots(address, lateness, packets), footage=packets)


def _live(shots: Callable[[], Shots], again: bool) -> Source:
    def recording() -> Recording:
        jpegs = Jpegs()
        return Recording(jpegs.passed(shots()), footage=jpegs) if again else Recording(shots())

    return Source(lambda stop: iter([recording()]), live=True)


def _device_shots(device: str) -> Shots:
    """The frames of a capture device, by OpenCV: FFmpeg in PyAV's packages has no such devices."""
    return captured(cv2.VideoCapture(device, cv2.CAP_V4L2), device)


def captured(capture: cv2.VideoCapture, name: str) -> Shots:
    """The frames of an open `capture`, timed by their arrival. Raises UnreadableVideo if it is not open."""
    try:
        if not capture.isOpened():
            raise UnreadableVideo(f"{name} cannot be opened as a capture device")
        while True:
            there, picture = capture.read()
            if not there:
                return
            yield time.monotonic(), partial(rgb, picture)
    finally:
        capture.release()
