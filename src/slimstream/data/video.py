"""Decoding with OpenCV: every frame is grabbed, only the wanted ones are converted, nothing seeks.

Seeking lands on key frames in many containers; a sequential pass is exact and, for dense sampling, faster.
A picture is a clip of one frame and is read the same way.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Self

import cv2

from slimstream.data.media import Frame, UnreadableVideo, VideoInfo, is_picture
from slimstream.data.pictures import Still


class Reader:
    """One sequential pass: iterating grabs frame after frame, `picture()` converts the one last grabbed.

        with Reader(path) as clip:
            pictures = {index: clip.picture() for index in clip if index % 5 == 0}

    Raises UnreadableVideo when there is no video stream.
    """

    def __init__(self, path: Path) -> None:
        cv2.setNumThreads(1)  # parallelism is one process per core, never threads within a clip
        if not path.is_file() or path.stat().st_size == 0:
            raise UnreadableVideo("the file is empty" if path.is_file() else "the file is missing")
        try:
            str(path).encode()
        except UnicodeEncodeError:  # OpenCV would not survive it
            raise UnreadableVideo("the file's name is not UTF-8: rename it") from None
        # In full, or FFmpeg would take what is before a colon in a name for a protocol.
        self._capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            self._capture.release()
            raise UnreadableVideo("no video stream can be opened")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    @property
    def info(self) -> VideoInfo:
        capture = self._capture
        fps = capture.get(cv2.CAP_PROP_FPS)
        codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1").strip("\0 ")
        return VideoInfo(
            frames=max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))),
            fps=fps if 0 < fps < 10_000 else 25.0,
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            codec=codec,
        )

    def __iter__(self) -> Iterator[int]:
        index = 0
        while self._capture.grab():
            yield index
            index += 1

    def picture(self) -> Frame:
        """The frame last grabbed, (H, W, 3) uint8 RGB. Raises UnreadableVideo when it cannot be converted."""
        ok, picture = self._capture.retrieve()
        if not ok:
            raise UnreadableVideo("a frame cannot be converted")
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB)


def open_clip(path: Path, bits: int | None = None) -> Reader | Still:
    """Open a video or a picture, as its suffix says; for `bits` see `Still`.

    Raises UnreadableVideo when it is neither.
    """
    return Still(path, bits) if is_picture(path) else Reader(path)


def probe(path: Path) -> VideoInfo:
    """Read a header. Raises UnreadableVideo when there is no video stream and no picture."""
    with open_clip(path) as clip:
        return clip.info


def frames(path: Path, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Frame]]:
    """Yield (index, RGB frame (H, W, 3) uint8) in order, all of them or those `wanted`.

    Stops after the last wanted frame. Raises UnreadableVideo when nothing at all can be decoded.
    """
    chosen = None if wanted is None else frozenset(wanted)
    if chosen is not None and not chosen:
        return
    index = -1
    with open_clip(path) as clip:
        for index in clip:
            if chosen is None or index in chosen:
                yield index, clip.picture()
            if chosen is not None and index == max(chosen):
                return
    if index < 0:
        raise UnreadableVideo("no frame can be decoded")


def count_frames(path: Path) -> int:
    """Decode the whole clip and count; what the header claims may be wrong."""
    with open_clip(path) as clip:
        return sum(1 for _ in clip)
