"""Check JPEG files (ITU-T T.81): parse the markers from the first to the last scan.

libjpeg warns when the coded data of a scan is too short or too long. It does not notice two kinds of damage:
missing scans, and a run of zero bytes, which decodes to some picture.
"""

import re
import struct

from slimstream.clips.headers import Header
from slimstream.core.media import UnreadableVideo

TABLES, END, SCAN = 0xC4, 0xD9, 0xDA
FRAMES = {*range(0xC0, 0xD0)} - {TABLES, 0xC8, 0xCC}
ALL = 64
"""Number of coefficients of a block."""
MARKER_GAP = bytes(64)
"""More zero bytes than a block of 64 non-zero coefficients can need."""

_SCAN_ENDS = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A marker that ends a scan: not a stuffed byte, a restart or a fill byte."""


def read_jpeg(data: bytes) -> Header:
    """Return the header.

    Raises UnreadableVideo for missing scans, for a run of zero bytes in a scan, and for more than 8 bits.
    """
    header, place = None, 2
    whole: dict[int, set[int]] = {}  # component → coefficients read in full precision
    zeros: dict[int, int] = {}  # Huffman table → symbol of the code of zeros only
    while True:
        if data[place] != 0xFF or (mark := data[place + 1]) in (0x00, END):
            raise UnreadableVideo("the picture is damaged: a part of it is missing")
        if mark == 0xFF:  # fill byte
            place += 1
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        start, place = place + 4, place + 2 + length
        if mark == TABLES:
            while start < place:
                if data[start] >> 4:  # an AC table
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
            # A picture has no blocks full of non-zero coefficients, so a run of zeros is damage.
            filled = last and not refines and any(0 < zeros.get(table & 15, 0) < 16 for table in tables)
            if filled and data.find(MARKER_GAP, place, end) >= 0:
                raise UnreadableVideo("the picture is damaged: it has a hole")
            for component in components if not missing else ():
                whole.setdefault(component, set()).update(range(first, last + 1))
            if header is not None and all(len(coefficients) == ALL for coefficients in whole.values()):
                return header
            place = end
