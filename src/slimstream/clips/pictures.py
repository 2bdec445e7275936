"""A picture as a clip of one frame: judged by its header, then decoded by decoders that tell of damage."""

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
"""Of a picture: 134 million pixels are 0.4 GB in 8 bits, and 1.2 GB while 16 become 8. OpenCV takes no larger
file."""
DARK, BLACK = 2**14, 2**12
"""A camera of at most 14 bits stays below the first where its values lie unscaled in 16. What stays below the
second cannot be seen: 15 of 255 at most."""


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
"""How a file begins, and who reads its header. What a picture is goes by its content, not by its suffix."""


class Still:
    """A picture as a clip of one frame, with what a `Reader` has.

    Transparency is left out, and the camera's note of how it was held is heeded, as OpenCV does it. Of 16
    bits the upper 8 remain; where the camera has filled only the lower `bits` of them (8 to 16), the upper 8
    of those. Bytes behind the picture, such as the film that a phone appends, do not matter.

    Raises UnreadableVideo when there is no whole picture, when there are several, or when it is too large.
    """

    interlaced = 0
    """Frames that were deinterlaced."""

    def __init__(self, path: Path, bits: int | None = None) -> None:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said by us
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
            if header.bits < 16:  # OpenCV has scaled 10, 12 and 14 to 16
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

    def claimed(self) -> Timeline:
        """One frame, which has no length."""
        return self.timeline()

    def timeline(self) -> Timeline:
        """One frame, which has no length."""
        return Timeline(np.zeros(1))

    def damage(self) -> str:
        """Nothing: what is no whole picture was not opened."""
        return ""

    truncation = damage

    def __iter__(self) -> Iterator[int]:
        yield 0

    def picture(self) -> Frame:
        return self._picture


def unscaled(peaks: Mapping[int, int], bits: int | None) -> dict[int, str]:
    """Which pictures of a set are nearly black because nobody has said how many bits their camera has.

    `peaks` holds, by the caller's numbers, the largest value of each picture (`VideoInfo.peak`). One picture
    may well be dark; that all of 16 bits are, is a camera of fewer. Returns number → reason.
    """
    deep = {number: peak for number, peak in peaks.items() if peak}
    largest = max(deep.values(), default=DARK)
    return {} if bits is not None or largest >= DARK else dict.fromkeys(deep, _too_dark(largest))


def check_visible(peak: int, bits: int | None) -> None:
    """Raise UnreadableVideo where a picture without its set (see `unscaled`) would be all but black."""
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
    """Raises UnreadableVideo unless the file holds one picture, of a size that memory can bear."""
    reader = next((reader for magic, reader in READERS.items() if data.startswith(magic)), None)
    if reader is None:
        raise UnreadableVideo("no picture can be decoded")
    try:
        header = reader(data)
    except (struct.error, IndexError):  # it ends within its header
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
    """OpenCV paints what is missing grey and says nothing; simplejpeg makes an error of libjpeg's warnings.

    Both make the same bytes of a picture. Only OpenCV mixes inks, and turns a picture as its Exif data say.
    """
    try:
        picture: Frame = simplejpeg.decode_jpeg(data, "CMYK" if header.inks else "RGB", strict=True)
    except ValueError as error:
        if "subsampling" not in (said := str(error)):
            cut = "Premature end of JPEG file" in said
            raise UnreadableVideo(
                "the picture is truncated" if cut else f"the picture is damaged: {said}"
            ) from None
        # It knows only the usual samplings of colour; OpenCV knows all, but the end mark is ours to look for.
        if b"\xff\xd9" not in data[data.rfind(b"\xff\xda") :]:
            raise UnreadableVideo("the picture is truncated") from None
        return _decode(data)
    return _decode(data) if header.inks or b"Exif\0\0" in data else picture


def _decode(data: bytes, depth: int = 0) -> Any:
    """(H, W, 3) RGB, uint8; uint16 with IMREAD_ANYDEPTH."""
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | depth)
    except cv2.error:
        picture = None
    if picture is None:
        raise UnreadableVideo("no picture can be decoded")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)  # IMREAD_COLOR_RGB garbles TIFF of 16 bits


def _to_bytes(deep: npt.NDArray[np.uint16], peak: int, bits: int | None) -> Frame:
    """(H, W, 3) uint8, the upper 8 of the lower `bits`."""
    if bits is not None and peak >= 1 << bits:
        raise UnreadableVideo(
            f"its values reach {peak}, more than the {bits} bits of extract.bits hold ({(1 << bits) - 1})"
        )
    return (deep >> ((bits or 16) - 8)).astype(np.uint8)
