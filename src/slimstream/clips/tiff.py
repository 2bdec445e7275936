"""Read the header of TIFF 6.0 and BigTIFF files and check that their compressed data is complete.

OpenCV ignores errors of libtiff and leaves undecoded parts black.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import simplejpeg

from slimstream.clips.headers import Header
from slimstream.core.media import UnreadableVideo

Tags = dict[int, tuple[int, ...]]
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, COLOURS = 254, 256, 257, 258, 259, 262
SAMPLES, PLANES, SAMPLE_FORMAT, JPEG_TABLES = 277, 284, 339, 347
DATA = ((273, 279), (324, 325))
"""Tags of offsets and sizes of strips, and of tiles."""
CONVERTED = {0, 1, 2, 3, 5, 6}
"""Colour spaces that OpenCV converts: grey (both polarities), RGB, palette, CMYK and YCbCr."""
LZW, JPEG, DEFLATE = 5, 7, (8, 32946)

_NUMBERS = {1: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}
_ONE = (1,)


def read_tiff(data: bytes) -> Header:
    pages = [tags for tags in _directories(data) if not tags.get(SUBFILE, (0,))[0] & 1]  # 1: a thumbnail
    if not pages or not {WIDTH, HEIGHT} <= set(tags := pages[0]):
        raise UnreadableVideo("no picture can be decoded")
    bits, colours = max(tags.get(BITS, _ONE)), tags.get(COLOURS, _ONE)[0]
    if (form := tags.get(SAMPLE_FORMAT, _ONE)[0]) in (2, 3) or bits > 16:
        kind = {2: "signed numbers", 3: "floats"}.get(form, "integers")
        raise UnreadableVideo(f"its values are {kind} of {bits} bits: save it with 8 or 16 bits, unsigned")
    if colours not in CONVERTED:
        raise UnreadableVideo(f"its colours (photometric {colours}) are not known: save it as RGB or grey")
    samples, planes = tags.get(SAMPLES, _ONE)[0], tags.get(PLANES, _ONE)[0] == 2
    if bits > 8 and (
        colours > 2 or samples not in (1, 3, 4) or (planes and samples > 1)
    ):  # OpenCV decodes it wrongly
        raise UnreadableVideo(
            f"its {bits} bits are neither grey nor RGB pixel by pixel: save it so, or with 8"
        )
    parts = [
        (place, size)
        for places, sizes in DATA
        for place, size in zip(tags.get(places, ()), tags.get(sizes, ()), strict=False)
    ]
    if not parts or max(map(sum, parts)) > len(data):
        raise UnreadableVideo("the picture is truncated")
    return Header(
        "tiff",
        tags[WIDTH][0],
        tags[HEIGHT][0],
        bits,
        len(pages),
        white_is_zero=colours == 0,
        verify=partial(_verify, data, tags, parts),
    )


def _directories(data: bytes) -> Iterator[Tags]:
    """Yield one directory per page or thumbnail: tag → values."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    offset, count, entry, inline = ("Q", "Q", "HHQ", 8) if big else ("I", "H", "HHI", 4)
    (place,) = struct.unpack_from(order + offset, data, 8 if big else 4)
    seen: set[int] = set()
    while place and place not in seen:
        seen.add(place)
        (entries,) = struct.unpack_from(order + count, data, place)
        place += struct.calcsize("=" + count)
        tags: Tags = {}
        for _ in range(entries):
            tag, kind, number = struct.unpack_from(order + entry, data, place)
            at = place + struct.calcsize("=" + entry)
            place = at + inline
            if letter := _NUMBERS.get(kind):
                if struct.calcsize("=" + letter) * number > inline:
                    (at,) = struct.unpack_from(order + offset, data, at)
                if number > len(data):  # before memory is allocated
                    raise UnreadableVideo("the picture is truncated")
                tags[tag] = struct.unpack_from(f"{order}{number}{letter}", data, at)
        yield tags
        (place,) = struct.unpack_from(order + offset, data, place)


def _verify(data: bytes, tags: Tags, parts: list[tuple[int, int]]) -> None:
    """Raise UnreadableVideo when a strip or tile cannot be decompressed. Not all encodings can be checked."""
    packing = tags.get(COMPRESSION, _ONE)[0]
    try:
        if packing in DEFLATE:
            for place, size in parts:
                _inflate(data[place : place + size])
        elif packing == JPEG:
            tables = bytes(tags.get(JPEG_TABLES, ()))[:-2]
            for place, size in parts:
                part = data[place : place + size]
                simplejpeg.decode_jpeg(
                    tables + part[2:] if tables else part, "GRAY", min_height=1, min_width=1, strict=True
                )  # one eighth of the size is enough to find damage
        elif packing == LZW:
            _unpack(data)
    except (zlib.error, ValueError, OSError) as error:
        raise UnreadableVideo(f"the picture is damaged: {error}") from None


def _inflate(part: bytes) -> None:
    """Decompress without keeping the result. Raises zlib.error for damaged or truncated data."""
    stream = zlib.decompressobj()
    while not stream.eof:
        if not stream.decompress(part, 1 << 20) and not stream.unconsumed_tail and not stream.eof:
            raise zlib.error("its data end too early")
        part = stream.unconsumed_tail


def _unpack(data: bytes) -> None:
    """Decode with Pillow, which reports errors of libtiff. Raises OSError."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the size was checked before
    with suppress(UnidentifiedImageError):  # Pillow cannot read 16-bit colour; OpenCV checks it
        Image.open(io.BytesIO(data)).load()
