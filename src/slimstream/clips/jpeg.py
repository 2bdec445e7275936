"""JPEG (ITU-T T.81): the marks of a file from its first to its last scan.

libjpeg warns where its codes break off or are left over. Two kinds of loss leave a file in which they do
neither: scans that never came, and a run of zeros, which decodes to something.
"""

import re
import struct

from slimstream.clips.headers import Header
from slimstream.core.media import UnreadableVideo

TABLES, END, SCAN = 0xC4, 0xD9, 0xDA
FRAMES = {*range(0xC0, 0xD0)} - {TABLES, 0xC8, 0xCC}
ALL = 64
"""Coefficients of a block."""
HOLE = bytes(64)
"""More zeros than are needed for a block of 64 coefficients none of which is zero."""

_SCAN_ENDS = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""At a mark that is no stuffed byte, restart or filling."""


def read_jpeg(data: bytes) -> Header:
    """The header, when all scans follow it and none has a hole.

    Raises UnreadableVideo otherwise, and for more than 8 bits.
    """
    header, place = None, 2
    whole: dict[int, set[int]] = {}  # component → coefficients that have come in full precision
    zeros: dict[int, int] = {}  # Huffman table → what a code of zeros alone stands for in it
    while True:
        if data[place] != 0xFF or (mark := data[place + 1]) in (0x00, END):
            raise UnreadableVideo("the picture is damaged: a part of it is missing")
        if mark == 0xFF:  # filled up
            place += 1
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        start, place = place + 4, place + 2 + length
        if mark == TABLES:
            while start < place:
                if data[start] >> 4:  # not one for mean values
                    zeros[data[start] & 15] = data[start + 17]
                start += 17 + sum(data[start + 1 : start + 17])
        elif mark in FRAMES:
            bits, height, width, count = struct.unpack_from(">BHHB", data, start)
            if bits != 8:
                raise UnreadableVideo(f"a JPEG of {bits} bits is not read: save it with 8, or as PNG or TIFF")
            header = Header("jpeg", width, height, inks=count == 4)
            whole = {data[start + 6 + 3 * k]: set() for k in range(count)}
        elif mark == SCAN:
            parameters = start + 1 + 2 * data[start]
            components, tables = data[start + 1 : parameters : 2], data[start + 2 : parameters : 2]
            first, last, steps = struct.unpack_from("BBB", data, parameters)
            refines, missing = steps >> 4, steps & 15
            found = _SCAN_ENDS.search(data, place)
            end = found.start() if found else len(data)
            # Where zeros stand for a coefficient that is not zero, no picture has blocks full of it.
            filled = last and not refines and any(0 < zeros.get(table & 15, 0) < 16 for table in tables)
            if filled and data.find(HOLE, place, end) >= 0:
                raise UnreadableVideo("the picture is damaged: it has a hole")
            for component in components if not missing else ():
                whole.setdefault(component, set()).update(range(first, last + 1))
            if header is not None and all(len(coefficients) == ALL for coefficients in whole.values()):
                return header
            place = end
