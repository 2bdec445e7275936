"""Read a picture as a clip of one frame: check its header, then decode it and detect damage."""

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from slimstream.clips.headers import Header, read_bmp, read_png, read_pnm, read_webp
from slimstream.clips.jpeg import read_jpeg
from slimstream.clips.tiff import read_tiff
from slimstream.clips.timeline import Timeline
from slimstream.core.media import Frame, UnreadableVideo, VideoInfo

MAX_SIDE, MAX_PIXELS, MAX_BYTES = 2**14, 2**27, 2**31 - 1
"""Limits of a picture. 134 million pixels take 0.4 GB in 8 bits, 1.2 GB while converted from 16.
OpenCV does not read larger files."""
DARK, BLACK = 2**14, 2**12
"""Limits of the largest 16-bit value. Unscaled values of a camera with up to 14 bits stay below DARK. A
picture below BLACK has at most 15 of 255 after conversion, which looks black."""


READERS: dict[bytes, Callable[[bytes], Header]] = {
    b"\xff\xd8": read_jpeg,
    b"\x89PNG\r\n\x1a\n": read_png,
    b"BM": read_bmp,
    b"RIFF": read_webp,
    b"P5": read_pnm,
    b"P6": read_pnm,
    b"II*\0": read_tiff,
    b"MM\0*": read_tiff,
    b"II+\0": read_tiff,
    b"MM\0+": read_tiff,
}
"""First bytes of a file → reader of its header. The format is found by content, not by suffix."""


class PictureReader:
    """A picture as a clip of one frame, with the interface of `Reader`.

    As in OpenCV, transparency is ignored and the Exif orientation is applied. Of 16-bit values the upper 8
    bits are kept; with `bits` (8 to 16), the upper 8 of the lower `bits`. Bytes after the picture are
    ignored, such as the short film that some phones append.

    Raises UnreadableVideo for a damaged or truncated picture, for several pictures, and above the limits.
    """

    interlaced = 0
    """Number of deinterlaced frames."""
    seconds = None
    """A picture has no timestamp."""

    def __init__(self, path: Path, bits: int | None = None) -> None:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # we report errors ourselves
        data = _read(path)
        header = _header(data)
        header.verify()
        self._peak = 0
        if header.format == "jpeg":
            self._picture = _decode_jpeg(data, header)
        elif header.bits <= 8:
            self._picture = _decode(data)
        else:
            deep = _decode(data, cv2.IMREAD_ANYDEPTH)
            if header.white_is_zero:
                deep = 65535 - deep
            if header.bits < 16:  # OpenCV has scaled 10, 12 or 14 bits to 16
                bits = None
            else:
                self._peak = int(deep.max())
            self._picture = _to_bytes(deep, self._peak, bits)
        self._format = header.format

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def info(self) -> VideoInfo:
        height, width = self._picture.shape[:2]
        return VideoInfo(1, 0.0, width, height, codec=self._format, peak=self._peak)

    def claimed_timeline(self) -> Timeline:
        """Return the timeline of one frame at 0 s."""
        return self.timeline()

    def timeline(self) -> Timeline:
        """Return the timeline of one frame at 0 s."""
        return Timeline(np.zeros(1))

    def damage(self) -> str:
        """Return "": a damaged picture is refused when it is opened."""
        return ""

    truncation = damage

    def __iter__(self) -> Iterator[int]:
        yield 0

    def picture(self) -> Frame:
        return self._picture

    def picture_later(self) -> Callable[[], Frame]:
        """See `VideoReader.picture_later`."""
        return self.picture


def nearly_black(peaks: Mapping[int, int], bits: int | None) -> dict[int, str]:
    """Find pictures that would be nearly black because `extract.bits` is not set. Returns number → reason.

    `peaks`: number of a picture → its largest value (`VideoInfo.peak`). One picture may be dark, but when all
    16-bit pictures of a set are, the camera has fewer bits.
    """
    deep = {number: peak for number, peak in peaks.items() if peak}
    largest = max(deep.values(), default=DARK)
    return {} if bits is not None or largest >= DARK else dict.fromkeys(deep, _too_dark(largest))


def check_visible(peak: int, bits: int | None) -> None:
    """Raise UnreadableVideo when one picture would be nearly black. `nearly_black` checks a whole set."""
    if bits is None and 0 < peak < BLACK:
        raise UnreadableVideo(f"{_too_dark(peak)}, and train again")


def _too_dark(peak: int) -> str:
    return (
        f"16 bits, of which only {max(8, peak.bit_length())} are used (values up to {peak}): set "
        "extract.bits to what the camera has (10, 12 or 14), or to 16 if it is that dark"
    )


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise UnreadableVideo("the file is missing")
    size = path.stat().st_size
    if not size:
        raise UnreadableVideo("the file is empty")
    if size > MAX_BYTES:
        raise UnreadableVideo(f"a file of {size / 1e9:.1f} GB is too large for a picture")
    return path.read_bytes()


def _header(data: bytes) -> Header:
    """Raise UnreadableVideo unless the file holds exactly one picture within the size limits."""
    reader = next((reader for magic, reader in READERS.items() if data.startswith(magic)), None)
    if reader is None:
        raise UnreadableVideo("no picture can be decoded")
    try:
        header = reader(data)
    except (struct.error, IndexError):  # the file ends within its header
        raise UnreadableVideo("the picture is truncated") from None
    width, height = header.width, header.height
    if width < 1 or height < 1:
        raise UnreadableVideo("no picture can be decoded")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise UnreadableVideo(
            f"{width} × {height} pixels are too many: at most {MAX_SIDE} a side and "
            f"{MAX_PIXELS // 10**6} million in all are read; make it smaller or cut it into parts"
        )
    if header.pictures > 1:
        raise UnreadableVideo(
            f"it holds {header.pictures} pictures (pages or frames): save the one that is meant as a file of "
            "its own"
        )
    return header


def _decode_jpeg(data: bytes, header: Header) -> Frame:
    """Decode with simplejpeg, which reports damage. OpenCV fills missing parts with grey without an error.

    Both give the same bytes. Only OpenCV converts CMYK and applies the Exif orientation.
    """
    try:
        picture: Frame = simplejpeg.decode_jpeg(data, "CMYK" if header.inks else "RGB", strict=True)
    except ValueError as error:
        if "subsampling" not in (said := str(error)):
            cut = "Premature end of JPEG file" in said
            raise UnreadableVideo(
                "the picture is truncated" if cut else f"the picture is damaged: {said}"
            ) from None
        # simplejpeg lacks some chroma subsamplings. OpenCV has all, but does not check the end marker.
        if b"\xff\xd9" not in data[data.rfind(b"\xff\xda") :]:
            raise UnreadableVideo("the picture is truncated") from None
        return _decode(data)
    return _decode(data) if header.inks or b"Exif\0\0" in data else picture


def _decode(data: bytes, depth: int = 0) -> Any:
    """Decode to (H, W, 3) RGB, uint8, or uint16 with IMREAD_ANYDEPTH."""
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | depth)
    except cv2.error:
        picture = None
    if picture is None:
        raise UnreadableVideo("no picture can be decoded")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)  # IMREAD_COLOR_RGB is wrong for 16-bit TIFF


def _to_bytes(deep: npt.NDArray[np.uint16], peak: int, bits: int | None) -> Frame:
    """Return (H, W, 3) uint8: the upper 8 of the lower `bits`. Raises UnreadableVideo for larger values."""
    if bits is not None and peak >= 1 << bits:
        raise UnreadableVideo(
            f"its values reach {peak}, more than the {bits} bits of extract.bits hold ({(1 << bits) - 1})"
        )
    return (deep >> ((bits or 16) - 8)).astype(np.uint8)
