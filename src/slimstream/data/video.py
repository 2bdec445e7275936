"""Decoding with OpenCV: every frame is grabbed, only the wanted ones are converted, nothing seeks.

Seeking lands on key frames in many containers; a sequential pass is exact and, for dense sampling, faster.
A picture is a clip of one frame and is read the same way.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
"""One RGB picture (H, W, 3), 0..255."""

VIDEOS = {".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv", ".ts"}
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
"""Suffixes, in small letters; what a file is goes by its name, how it is decoded by its content."""

_FORMATS = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"BM": "bmp", b"II": "tiff", b"MM": "tiff"}
"""The first two bytes of a picture."""


class UnreadableVideo(ValueError):
    """The file holds no video or picture that can be decoded; the message says why."""


def is_picture(name: str | PurePath) -> bool:
    """Whether a file of this name is a picture, a clip of one frame."""
    return PurePath(name).suffix.lower() in PICTURES


@dataclass(frozen=True)
class VideoInfo:
    """What the container's header says; `frames` is only a claim until the clip is decoded."""

    frames: int
    fps: float
    """0 for a picture, which has no length."""
    width: int
    height: int
    codec: str

    @property
    def seconds(self) -> float:
        return self.frames / self.fps if self.fps else 0.0


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


class Still:
    """A picture as a clip of one frame, with what a `Reader` has.

    Colours of more than 8 bits become 8, transparency is left out, and the camera's note of how it was held
    is heeded, as OpenCV does it. Raises UnreadableVideo when there is no whole picture.
    """

    def __init__(self, path: Path) -> None:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said by us
        if not path.is_file():
            raise UnreadableVideo("the file is missing")
        data = path.read_bytes()
        if not data:
            raise UnreadableVideo("the file is empty")
        self._format = _FORMATS.get(data[:2], "")
        if self._format == "jpeg" and b"\xff\xd9" not in data[data.rfind(b"\xff\xda") :]:
            # Alone among the decoders, that of JPEG paints what is missing grey: look for the end mark.
            raise UnreadableVideo("the picture is truncated")
        try:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            picture = None
        if picture is None:
            raise UnreadableVideo("no picture can be decoded")
        self._picture: Frame = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def info(self) -> VideoInfo:
        height, width = self._picture.shape[:2]
        return VideoInfo(frames=1, fps=0.0, width=width, height=height, codec=self._format)

    def __iter__(self) -> Iterator[int]:
        yield 0

    def picture(self) -> Frame:
        return self._picture


def open_clip(path: Path) -> Reader | Still:
    """Open a video or a picture, as its suffix says. Raises UnreadableVideo when it is neither."""
    return Still(path) if is_picture(path) else Reader(path)


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
