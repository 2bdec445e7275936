"""Rendered clips with known motion, stored without loss."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


def texture(size: int = 256, seed: int = 0) -> Picture:
    """(size, size, 3) smooth noise, 40..215."""
    noise = np.random.default_rng(seed).normal(size=(size, size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.asarray(np.clip(128 + 60 * smooth / smooth.std(), 40, 215)).astype(np.uint8)


def moving(positions: Iterable[tuple[int, int]], height: int = 64, width: int = 64) -> list[Picture]:
    """A texture whose content has moved by (x, y) pixels in each picture."""
    whole = texture()
    return [whole[96 - y : 96 - y + height, 96 - x : 96 - x + width].copy() for x, y in positions]


def boxed(picture: Picture, left: int = 0, top: int = 0) -> Picture:
    """The picture squeezed between black bars of `left` and `top` pixels on both sides."""
    height, width = picture.shape[:2]
    out = np.zeros_like(picture)
    inner = cv2.resize(picture, (width - 2 * left, height - 2 * top), interpolation=cv2.INTER_AREA)
    out[top : height - top, left : width - left] = inner
    return out


def write_video(path: Path, pictures: Iterable[Picture], fourcc: str = "FFV1", fps: float = 25.0) -> Path:
    """Write RGB pictures; FFV1 (lossless but for the colour transform) in .avi or .mkv."""
    pictures = list(pictures)
    size = (pictures[0].shape[1], pictures[0].shape[0])
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), fps, size)
    assert writer.isOpened(), f"{fourcc} cannot be written here"
    for picture in pictures:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def write_picture(path: Path, picture: Picture) -> Path:
    """Write an RGB picture; every format but JPEG keeps it as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return path


def encode(
    path: Path,
    pictures: Iterable[Picture],
    codec: str = "libx264",
    *,
    times: Sequence[float] | None = None,
    fps: int = 25,
    pixels: str = "yuv420p",
    matrix: int | None = None,
    turned: int = 0,
    options: Mapping[str, str] | None = None,
    ticks: int = 90_000,
) -> Path:
    """Write RGB pictures with PyAV, which offers what OpenCV does not.

    times: when each is shown, in seconds, negative ones hidden by an edit list; else `fps` a second.
    matrix: number of the colour matrix that the stream claims to have. turned: degrees, counterclockwise.
    ticks: a second, for codecs that cannot count 90,000.
    """
    pictures = list(pictures)
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = container.add_stream(codec, rate=fps, options={"crf": "4", **(options or {})})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, ticks)
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        if turned:
            stream.set_display_rotation(turned)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.time_base = Fraction(1, ticks)
            frame.pts = round((times[number] if times else number / fps) * ticks)
            if matrix is not None:
                frame.colorspace = matrix
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
