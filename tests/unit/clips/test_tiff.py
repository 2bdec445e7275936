"""TIFFs as cameras and laboratories write them: what OpenCV reads right is read, the rest refused."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimstream.clips.pictures import PictureReader
from slimstream.core.media import UnreadableVideo

WIDTH, HEIGHT = 16, 4
FORMATS = {3: "H", 4: "I"}


def tiff(*pages: tuple[dict[int, list[int]], bytes], order: str = "<") -> bytes:
    """A TIFF of pages of one strip each; numbers of tags are longs, but for bits and formats."""
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link = 4
    for given, strip in pages:
        tags = {273: [len(out)], 279: [len(strip)], **given}
        out += strip + bytes(len(strip) % 2)
        entries = b""
        for tag, numbers in sorted(tags.items()):
            kind = 3 if tag in (258, 262, 277, 339) else 4
            value = struct.pack(f"{order}{len(numbers)}{FORMATS[kind]}", *numbers)
            if len(value) > 4:
                place = len(out)
                out += value + bytes(len(value) % 2)
                value = struct.pack(f"{order}I", place)
            entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + value.ljust(4, b"\0")
        struct.pack_into(f"{order}I", out, link, len(out))
        out += struct.pack(f"{order}H", len(tags)) + entries
        link = len(out)
        out += bytes(4)
    return bytes(out)


def page(bits: int, strip: bytes, colours: int = 1, samples: int = 1, **more: int) -> Any:
    tags = {256: [WIDTH], 257: [HEIGHT], 258: [bits] * samples, 259: [1], 262: [colours], 277: [samples]}
    tags |= {278: [HEIGHT], 339: [more.get("form", 1)] * samples, 254: [more.get("subfile", 0)]}
    return tags, strip


def ramp(bits: int) -> np.ndarray:
    return np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) * (2**bits - 1) // (WIDTH * HEIGHT - 1)


def packed(values: np.ndarray, bits: int, order: str = "<") -> bytes:
    if bits == 16:
        return values.astype(order + "u2").tobytes()
    text = "".join(format(int(value), f"0{bits}b") for value in values.ravel())
    return int(text, 2).to_bytes(len(text) // 8, "big")


def read(data: bytes, folder: Path, bits: int | None = None) -> np.ndarray:
    (folder / "a.tif").write_bytes(data)
    return PictureReader(folder / "a.tif", bits).picture()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_of_any_depth_and_both_ways(tmp_path: Path, bits: int, white_is_zero: bool, order: str) -> None:
    values = ramp(bits)
    picture = read(
        tiff(page(bits, packed(values, bits, order), int(not white_is_zero)), order=order), tmp_path
    )
    wanted = values * 255 if bits == 1 else values >> (bits - 8)
    assert np.abs(picture[..., 0].astype(int) - (255 - wanted if white_is_zero else wanted)).max() <= 1


@pytest.mark.parametrize(
    "bits, form, dtype, why",
    [
        (32, 3, "f4", "floats of 32 bits"),
        (64, 3, "f8", "floats of 64"),
        (16, 3, "f2", "floats of 16"),
        (32, 1, "u4", "integers of 32 bits"),
        (32, 2, "i4", "signed numbers of 32"),
        (16, 2, "i2", "signed numbers of 16"),
    ],
)
def test_what_does_not_fit_8_bits_is_refused_by_name(
    tmp_path: Path, bits: int, form: int, dtype: str, why: str
) -> None:
    with pytest.raises(UnreadableVideo, match=f"{why}.*: save it with 8 or 16 bits, unsigned"):
        read(tiff(page(bits, ramp(8).astype(dtype).tobytes(), form=form)), tmp_path)


@pytest.mark.parametrize("colours", [8, 32803, 34892])  # L*a*b*, raw mosaic, raw
def test_colours_that_nobody_converts_are_refused(tmp_path: Path, colours: int) -> None:
    with pytest.raises(UnreadableVideo, match=f"photometric {colours}"):
        read(tiff(page(8, bytes(192), colours, samples=3)), tmp_path)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("samples, colours", [(2, 1), (3, 2), (4, 2), (4, 5)])
def test_several_values_a_pixel_are_right_or_refused(
    tmp_path: Path, bits: int, samples: int, colours: int
) -> None:
    values = np.stack([ramp(bits), ramp(bits)[::-1], ramp(bits)[:, ::-1], ramp(bits) * 0], axis=-1)[
        ..., :samples
    ]
    data = tiff(
        page(bits, packed(values, bits) if bits != 8 else values.astype("u1").tobytes(), colours, samples)
    )
    if bits > 8 and (samples == 2 or colours == 5):
        with pytest.raises(UnreadableVideo, match=f"its {bits} bits are neither grey nor RGB"):
            read(data, tmp_path)
        return
    wanted = (values if samples > 2 else values[..., [0, 0, 0]]) >> (bits - 8)
    wanted = (255 - wanted if colours == 5 else wanted)[..., :3]
    assert np.abs(read(data, tmp_path).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_in_planes_are_right_or_refused(tmp_path: Path, bits: int) -> None:
    planes = [ramp(bits), ramp(bits)[::-1], ramp(bits)[:, ::-1]]
    tags, _ = page(bits, b"", 2, 3)
    strip = b"".join(plane.astype(f"<u{bits // 8}").tobytes() for plane in planes)
    size = len(strip) // 3
    data = tiff((tags | {284: [2], 273: [8, 8 + size, 8 + 2 * size], 279: [size] * 3}, strip))
    if bits == 16:
        with pytest.raises(UnreadableVideo, match="pixel by pixel"):
            read(data, tmp_path)
    else:
        assert np.array_equal(read(data, tmp_path), np.stack(planes, axis=-1))


def test_a_thumbnail_is_no_second_page(tmp_path: Path) -> None:
    whole = page(8, packed(ramp(8), 8))
    thumbnail = page(8, bytes(64), subfile=1)
    assert np.array_equal(read(tiff(whole, thumbnail), tmp_path)[..., 0], ramp(8))
    with pytest.raises(UnreadableVideo, match="2 pictures"):
        read(tiff(whole, whole), tmp_path)


def test_directories_in_a_circle_end(tmp_path: Path) -> None:
    data = bytearray(tiff(page(8, packed(ramp(8), 8))))
    data[-4:] = data[4:8]
    assert np.array_equal(read(bytes(data), tmp_path)[..., 0], ramp(8))
