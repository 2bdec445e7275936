"""Pictures as clips of one frame: whole ones of every kind are read, what is damaged or unclear says why."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from slimstream.clips.packs import pack_clip
from slimstream.clips.params import ExtractParams
from slimstream.clips.pictures import MAX_PIXELS, PictureReader, check_visible, nearly_black
from slimstream.clips.video import frames, open_clip, probe
from slimstream.core.media import UnreadableVideo, is_picture
from slimstream.stages.validate.survey import survey
from tests.unit.clips.rendered_clips import texture, write_picture, write_video


def rendered() -> np.ndarray:
    return texture(40)[:24]


def detailed(size: int = 160) -> Image.Image:
    """Too much detail for a hole in the file to go by unseen."""
    noise = np.random.default_rng(1).integers(-30, 30, (size, size, 3))
    return Image.fromarray(np.clip(texture(size).astype(int) + noise, 0, 255).astype(np.uint8))


def encoded(picture: Image.Image, form: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **settings)
    return file.getvalue()


def read(data: bytes, folder: Path, bits: int | None = None) -> np.ndarray:
    (folder / "picture").write_bytes(data)
    return PictureReader(folder / "picture", bits).picture()


def as_opencv_reads(data: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


SUFFIXES = {
    **dict.fromkeys(("jpg", "JPEG", "jpe", "jfif"), "jpeg"),
    **dict.fromkeys(("tif", "tiff"), "tiff"),
    **{"png": "png", "bmp": "bmp", "webp": "webp", "ppm": "ppm"},
}


@pytest.mark.parametrize("suffix, codec", SUFFIXES.items())
def test_a_picture_is_a_clip_of_one_frame(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"Überlauf.{suffix}"
    settings = {"quality": 95} if codec == "jpeg" else {"lossless": True} if codec == "webp" else {}
    path.write_bytes(encoded(Image.fromarray(rendered()), codec, **settings))
    assert is_picture(path.name)
    info = probe(path)
    assert (info.frames, info.fps, info.seconds, info.width, info.height) == (1, 0, 0, 40, 24)
    assert info.codec == codec
    ((index, picture),) = frames(path)
    assert index == 0 and picture.shape == (24, 40, 3)
    assert np.abs(picture.astype(int) - rendered()).mean() < (6 if codec == "jpeg" else 0.01)


def test_a_picture_is_known_by_its_content_not_by_its_suffix(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", rendered()).rename(tmp_path / "a.jpg")
    assert probe(path).codec == "png"


JPEG = [
    {"quality": quality, "progressive": progressive, "subsampling": colours, "restart_marker_blocks": restart}
    for quality in (30, 75, 100)
    for progressive in (False, True)
    for colours in (0, 1, 2)
    for restart in (0, 3)
]
PNG, TIFF = (
    ("1", "L", "LA", "P", "RGB", "RGBA"),
    ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"),
)
WHOLE: dict[str, Callable[[], bytes]] = {
    **{f"jpeg {s}": lambda s=s: encoded(detailed(67), "jpeg", **s) for s in JPEG},
    **{f"jpeg {m}": lambda m=m: encoded(detailed(67).convert(m), "jpeg") for m in ("L", "CMYK")},
    **{f"png {m}": lambda m=m: encoded(detailed(67).convert(m), "png") for m in PNG},
    **{
        f"bmp {m}": lambda m=m: encoded(detailed(67).convert(m), "bmp")
        for m in ("1", "L", "P", "RGB", "RGBA")
    },
    **{
        f"tiff {c} {m}": lambda c=c, m=m: encoded(detailed(67).convert(m), "tiff", compression=c)
        for c in TIFF
        for m in ("L", "RGB", "CMYK")
    },
    "tiff in strips by OpenCV": lambda: cv2.imencode(".tif", np.asarray(detailed(300)))[1].tobytes(),
    "tiff group4": lambda: encoded(detailed(67).convert("1"), "tiff", compression="group4"),
    "tiff BigTIFF": lambda: encoded(detailed(67), "tiff", big_tiff=True),
    **{
        f"webp {s}": lambda s=s: encoded(detailed(67), "webp", **s)
        for s in ({"lossless": True}, {"quality": 60})
    },
    "webp RGBA": lambda: encoded(detailed(67).convert("RGBA"), "webp"),
    **{f"pnm {m}": lambda m=m: encoded(detailed(67).convert(m), "ppm") for m in ("L", "RGB")},
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_pictures_are_read_as_opencv_reads_them(tmp_path: Path, name: str) -> None:
    data = WHOLE[name]()
    assert np.array_equal(read(data, tmp_path), as_opencv_reads(data))


@pytest.mark.parametrize("form", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_how_the_camera_was_held_is_heeded(tmp_path: Path, form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(rendered()), form, exif=exif)
    picture = read(data, tmp_path)
    assert np.array_equal(picture, as_opencv_reads(data))
    assert picture.shape == ((24, 40, 3) if orientation < 5 else (40, 24, 3))


BEHIND = (b"\0" * 99, b"\xff\xd8\xff\xda film \xff", np.random.default_rng(0).bytes(5000))


@pytest.mark.parametrize("behind", BEHIND, ids=["zeros", "marks", "film"])
@pytest.mark.parametrize("form", ["jpeg", "png", "bmp", "webp", "tiff"])
def test_bytes_behind_a_picture_are_no_damage(tmp_path: Path, form: str, behind: bytes) -> None:
    data = encoded(detailed(40), form)
    assert np.array_equal(read(data + behind, tmp_path), read(data, tmp_path))


def test_a_phones_second_picture_behind_the_first_is_no_damage(tmp_path: Path) -> None:
    first, second = Image.fromarray(rendered()), detailed(40)
    both = encoded(first, "mpo", save_all=True, append_images=[second])
    assert read(both, tmp_path).shape == (24, 40, 3)


@pytest.mark.parametrize("settings", JPEG[::5], ids=str)
def test_a_jpeg_with_a_hole_or_closed_too_early_is_damaged(tmp_path: Path, settings: dict[str, Any]) -> None:
    data = encoded(detailed(), "jpeg", **settings)
    third = len(data) // 3
    random = np.random.default_rng(0).bytes(third)
    for damaged in (
        data[:third] + bytes(third) + data[2 * third :],
        data[:third] + random + data[2 * third :],
        data[:third] + data[2 * third :],
        data[: len(data) // 2] + b"\xff\xd9",
    ):
        with pytest.raises(UnreadableVideo, match=r"damaged|truncated"):
            read(damaged, tmp_path)


@pytest.mark.parametrize("size", [64, 256, 512, 1000])
def test_a_run_of_zeros_is_a_hole_even_where_it_decodes_to_as_many_blocks(tmp_path: Path, size: int) -> None:
    data = encoded(detailed(), "jpeg")
    for place in range(1000, len(data) - size, 700):
        with pytest.raises(UnreadableVideo, match="damaged"):
            read(data[:place] + bytes(size) + data[place + size :], tmp_path)


FLAT = {
    "black": np.zeros((64, 64)),
    "white": np.full((64, 64), 255),
    "grey": np.full((64, 64), 128),
    "ramp": np.add.outer(np.arange(64), np.arange(64)) * 2,
    "stripes": np.tile(np.arange(64) // 4 % 2 * 255, (64, 1)),
    "squares": np.add.outer(np.arange(64) // 8, np.arange(64) // 8) % 2 * 255,
    "half noise": np.where(np.arange(64) < 32, 0, np.random.default_rng(0).integers(0, 256, (64, 64))),
}


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("name", FLAT)
def test_a_flat_picture_has_no_hole(tmp_path: Path, name: str, mode: str) -> None:
    picture = Image.fromarray(FLAT[name].astype(np.uint8)).resize((320, 320), Image.Resampling.NEAREST)
    for quality in (1, 50, 100):
        for settings in ({}, {"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 1}):
            read(encoded(picture.convert(mode), "jpeg", quality=quality, **settings), tmp_path)


def test_a_progressive_jpeg_closed_after_any_of_its_scans_is_damaged(tmp_path: Path) -> None:
    data = encoded(detailed(), "jpeg", progressive=True)
    scans = [at for at in range(len(data)) if data.startswith(b"\xff\xda", at)]
    assert len(scans) > 5
    for start in scans[1:]:
        tables = data.rfind(b"\xff\xc4", 0, start)  # what belongs to the scan that follows
        with pytest.raises(UnreadableVideo, match="damaged: a part of it is missing"):
            read(data[:tables] + b"\xff\xd9", tmp_path)


@pytest.mark.parametrize("name", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "png"])
def test_other_pictures_with_a_hole_are_damaged(tmp_path: Path, name: str) -> None:
    data = encoded(detailed(), "png") if name == "png" else encoded(detailed(), "tiff", compression=name)
    third = len(data) // 3
    with pytest.raises(UnreadableVideo, match="damaged"):
        read(data[:third] + bytes(third) + data[2 * third :], tmp_path)


def test_random_damage_crashes_nothing_and_mostly_does_not_pass(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = {form: encoded(detailed(), form) for form in ("jpeg", "png", "bmp", "webp", "tiff", "ppm")}
    passed = dict.fromkeys(whole, 0)
    for form, data in whole.items():
        for number in range(80):
            size = (1, 16, 256, 2000)[number % 4]
            place = int(rng.integers(0, len(data) - size))
            filling = [bytes(size), rng.bytes(size), b""][rng.integers(3)]
            try:
                picture = read(data[:place] + filling + data[place + size :], tmp_path)
            except UnreadableVideo as reason:
                assert str(reason)
                continue
            assert picture.dtype == np.uint8 and picture.shape[2] == 3
            passed[form] += size > 16 and not np.array_equal(picture, read(data, tmp_path))
    # JPEG has no checksum: a few bytes less may be another picture in its own right.
    assert passed["png"] == 0 and passed["jpeg"] <= 1


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp", "ppm"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_what_is_no_whole_picture_says_why(tmp_path: Path, suffix: str, share: float) -> None:
    path = write_picture(tmp_path / f"a.{suffix}", np.asarray(detailed()))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UnreadableVideo, match="truncated" if share else "empty"):
        probe(path)
    with pytest.raises(UnreadableVideo, match="missing"):
        probe(tmp_path / f"gone.{suffix}")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "pgm"])
@pytest.mark.parametrize("text", ["other.png", "/data/other.png\n", "P5", "II*", "file:other.png", "RIFF"])
def test_a_text_that_names_a_file_is_no_picture(tmp_path: Path, suffix: str, text: str) -> None:
    write_picture(tmp_path / "other.png", rendered())
    (tmp_path / f"a.{suffix}").write_text(text)
    with pytest.raises(UnreadableVideo, match=r"no picture|truncated"):
        probe(tmp_path / f"a.{suffix}")


def test_a_video_is_no_picture(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", [rendered()] * 3)
    with pytest.raises(UnreadableVideo, match="no picture"):
        probe(clip.rename(tmp_path / "video.png"))


@pytest.mark.parametrize("form", ["png", "webp", "tiff"])
def test_of_several_pages_or_frames_nobody_knows_which_is_meant(tmp_path: Path, form: str) -> None:
    one, other = detailed(40), Image.fromarray(rendered()).resize((40, 40))
    data = encoded(one, form, save_all=True, append_images=[other, one.rotate(90)])
    with pytest.raises(UnreadableVideo, match=r"3 pictures .*: save the one"):
        read(data, tmp_path)
    assert read(encoded(one, form, save_all=True), tmp_path).shape == (40, 40, 3)


def of_many_pixels(form: str, side: int) -> bytes:
    """The first bytes of a picture of side × side; of PNG all of them."""
    if form == "png":
        chunks = [
            (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(3 * side + 1))),
            (b"IEND", b""),
        ]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    data = bytearray(
        encoded(Image.new("RGB", (99, 77)), form, **({"lossless": True} if form == "webp" else {}))
    )
    if form == "jpeg":
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, side, side)
    elif form == "bmp":
        struct.pack_into("<iiHHI", data, 18, side, side, 1, 8, 1)
    elif form == "webp":
        side = min(side, 16384)
        struct.pack_into("<I", data, 21, side - 1 | side - 1 << 14)
    elif form == "tiff":
        for tag in (256, 257):
            at = data.index(struct.pack("<HHI", tag, 4, 1)) if struct.pack("<HHI", tag, 4, 1) in data else -1
            if at < 0:
                at = data.index(struct.pack("<HHI", tag, 3, 1))
            struct.pack_into("<HHII", data, at, tag, 4, 1, side)
    return bytes(data)


@pytest.mark.parametrize("form", ["png", "jpeg", "bmp", "webp", "tiff"])
@pytest.mark.parametrize("side", [30_000, 12_000])
def test_what_is_too_large_is_refused_by_its_header(tmp_path: Path, form: str, side: int) -> None:
    assert MAX_PIXELS < 12_000**2
    tracemalloc.start()
    with pytest.raises(UnreadableVideo, match=r"pixels are too many: at most 16384 a side and 134 million"):
        read(of_many_pixels(form, side), tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


# Depth: 10, 12 and 14 bits in 16.


def deep(bits: int, colour: bool = False) -> np.ndarray:
    """A ramp over all values of so many bits, with all of the upper 8 of them."""
    ramp = np.linspace(0, 2**bits - 1, 24 * 40).astype(np.uint16).reshape(24, 40)
    return np.stack([ramp, ramp[::-1], ramp.T.reshape(24, 40)], axis=-1) if colour else ramp


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_of_16_bits_the_upper_8_that_the_camera_fills_remain(
    tmp_path: Path, suffix: str, colour: bool, bits: int
) -> None:
    values = deep(bits, colour)
    cv2.imwrite(str(path := tmp_path / f"a{suffix}"), values[..., ::-1] if colour else values)
    wanted = (values >> (bits - 8)).astype(np.uint8)
    with open_clip(path, bits) as clip:
        assert np.array_equal(clip.picture(), wanted if colour else np.stack([wanted] * 3, axis=-1))
        assert clip.info.peak == 2**bits - 1
    assert survey(path, bits).peak == 2**bits - 1
    packed = pack_clip(path, ExtractParams(frames=1, size=(24, 40), flow="none", bits=bits))
    assert np.array_equal(packed.array[0], wanted if colour else np.stack([wanted] * 3, axis=-1))


def test_pgm_of_10_bits(tmp_path: Path) -> None:
    data = b"P5 # a camera's\n40 24\n1023\n" + deep(10).astype(">u2").tobytes()
    assert read(data, tmp_path, 10)[-1, -1].tolist() == [255] * 3
    with pytest.raises(UnreadableVideo, match="largest value is 100"):
        read(b"P5 40 24 100\n" + bytes(960), tmp_path)


def test_values_beyond_the_bits_that_were_set_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), deep(12))
    with pytest.raises(
        UnreadableVideo, match=r"reach 4095, more than the 10 bits of extract\.bits hold \(1023\)"
    ):
        PictureReader(tmp_path / "a.png", 10)


def test_8_bit_pictures_have_no_peak_and_heed_no_bits(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", rendered())
    with open_clip(path, 10) as clip:
        assert clip.info.peak == 0 and np.array_equal(clip.picture(), rendered())


def test_the_set_tells_a_dark_picture_from_a_camera_of_few_bits() -> None:
    assert nearly_black({0: 0, 1: 900, 2: 40_000}, None) == {}  # one is bright, so a dark one is dark
    found = nearly_black({0: 0, 3: 900, 4: 1023}, None)
    assert set(found) == {3, 4}  # 8 bits are left alone
    assert "only 10 are used (values up to 1023): set extract.bits" in found[3]
    assert nearly_black({3: 900}, 10) == nearly_black({3: 900}, 16) == nearly_black({}, None) == {}


def test_a_picture_without_a_set_is_not_judged_all_but_black() -> None:
    for peak, bits in ((0, None), (5000, None), (65535, None), (900, 10), (900, 16)):
        check_visible(peak, bits)
    with pytest.raises(UnreadableVideo, match=r"only 10 are used .* set extract\.bits .* train again"):
        check_visible(900, None)
