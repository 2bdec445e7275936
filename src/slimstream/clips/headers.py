"""Headers of picture files, read before decoding.

A file of 100 kB may decode to gigabytes of pixels, hold several pictures, or be truncated. The header shows
this without a decoder. Formats: PNG, BMP, WebP (RFC 9649), binary PGM and PPM; see `jpeg` and `tiff` for the
others.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from slimstream.core.media import UnreadableVideo


@dataclass(frozen=True)
class Header:
    """Header of a picture file."""

    format: str
    width: int
    height: int
    bits: int = 8
    """Bits per value: up to 8, or 9 to 16."""
    pictures: int = 1
    """Number of pages or animation frames, without thumbnails and the extra pictures of phones."""
    white_is_zero: bool = False
    """TIFF: large values are dark."""
    inks: bool = False
    """JPEG: values are CMYK inks, not RGB."""
    verify: Callable[[], None] = lambda: None
    """Raises UnreadableVideo for damage that OpenCV does not report."""


def read_png(data: bytes) -> Header:
    """Return the header. Raises UnreadableVideo when a checksum does not match."""
    width, height, bits = struct.unpack_from(">IIB", data, 16)
    frames, place, name = 1, 8, b""
    while name != b"IEND":  # bytes after IEND do not belong to the picture
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(memoryview(data)[place + 4 : end]) != checksum:
            raise UnreadableVideo("the picture is damaged: a checksum does not match")
        if name == b"acTL":
            (frames,) = struct.unpack_from(">I", data, place + 8)
        place = end + 4
    return Header("png", width, height, bits, frames)


def read_bmp(data: bytes) -> Header:
    start, kind = struct.unpack_from("<I", data, 10)[0], struct.unpack_from("<I", data, 14)[0]
    if kind == 12:  # OS/2
        (width, height, _, bits), packing = struct.unpack_from("<4H", data, 18), 0
    else:
        width, height, _, bits, packing = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative: top to bottom
    if packing in (0, 3) and start + (width * bits + 31) // 32 * 4 * height > len(data):
        raise UnreadableVideo("the picture is truncated")
    return Header("bmp", width, height)


def read_webp(data: bytes) -> Header:
    size, kind, first = struct.unpack_from("<I4s4s", data, 4)
    if kind != b"WEBP":  # RIFF is also used for sound and video
        raise UnreadableVideo("no picture can be decoded")
    if size + 8 > len(data):
        raise UnreadableVideo("the picture is truncated")
    if first == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        frames = data.count(b"ANMF") if data[20] & 2 else 1  # 2: animation flag
        return Header("webp", width, height, pictures=frames)
    if first == b"VP8L":
        (sides,) = struct.unpack_from("<I", data, 21)
        return Header("webp", (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1)
    width, height = struct.unpack_from("<HH", data, 26)
    return Header("webp", width & 0x3FFF, height & 0x3FFF)


def read_pnm(data: bytes) -> Header:
    found = _PNM.match(data)
    if found is None:
        raise UnreadableVideo("no picture can be decoded")
    kind, width, height, largest = map(int, found.groups())
    if largest < 255:
        raise UnreadableVideo(f"its largest value is {largest}: save it with values up to 255 or 65535")
    bits = 8 if largest == 255 else 16
    if found.end() + width * height * (bits // 8) * (3 if kind == 6 else 1) > len(data):
        raise UnreadableVideo("the picture is truncated")
    return Header("ppm" if kind == 6 else "pgm", width, height, bits)


_PNM = re.compile(rb"P([56])" + rb"(?:\s+(?:#[^\n]*\n\s*)*)(\d{1,9})" * 3 + rb"\s")
