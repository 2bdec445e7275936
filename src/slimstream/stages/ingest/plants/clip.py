"""Base class of rendered clips, and their video file."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.clips.video import probe
from slimstream.core.errors import UserError
from slimstream.core.media import UnreadableVideo

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) blue, green, red, the order of OpenCV, or (H, W) grey."""
Points = npt.NDArray[np.float64]
"""(N, 2) x, y."""


@dataclass(frozen=True)
class SimulatedClip(ABC):
    """One clip of a plant. Its fields are everything that its pixels depend on."""

    version: ClassVar[int]
    """Version of the renderer: raise it when the pictures change, so that a scan lists clips as changed."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Name of the clip in the source, with the suffix of its file."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Class of the clip."""

    @property
    @abstractmethod
    def groups(self) -> Mapping[str, str]:
        """Columns of the clip, such as its recording."""

    @abstractmethod
    def write(self, path: Path) -> None:
        """Render the clip into the file `path`; the same clip always gives the same bytes.

        Raises UserError when it cannot be written.
        """

    @property
    def etag(self) -> str:
        """Hash of everything that the pictures depend on."""
        text = json.dumps([self.version, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def group_name(kind: str, number: int, seed: int) -> str:
    """Name of a group of clips, which is another group with another `seed`: recording_03, recording_7_03."""
    return f"{kind}_{seed}_{number:02d}" if seed else f"{kind}_{number:02d}"


def write_video(frames: Iterable[Picture], path: Path, fps: float, size: tuple[int, int]) -> None:
    """Write `frames`, each of `size` (width, height), into an MPEG-4 file (suffix .mp4).

    Raises UserError when it cannot be written.
    """
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, size)
    if not writer.isOpened():
        raise UserError(
            f"{path}: cannot write a video here; check that the folder exists and may be written."
        )
    try:
        for frame in frames:
            writer.write(frame)
    finally:
        writer.release()
    try:
        probe(path)  # OpenCV does not report a full disk, but then the header is missing
    except UnreadableVideo as error:
        raise UserError(f"{path}: the video could not be finished; is the disk full?") from error
