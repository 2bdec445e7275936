"""From a video or a picture to what a model is given to see, the same bytes in extract and in serving.

frames   0 1 2 3 4 5 6 7 8 9 …            one sequential pass; leading frames with a foreign border left out
RGB          ■       ■       ■  → pack[t, …, :3], or grey in pack[t, …, :1]
flow         ■→□     ■→□     ■→□ → pack[t, …, 3:], from the same frame to the one `stride` later
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.atomic import whole
from slimstream.data.flow import dense_flow, quantise, saturation
from slimstream.data.media import Frame, UnreadableVideo, is_picture
from slimstream.data.video import open_clip
from slimstream.errors import UserError
from slimstream.params import Extract

Pack = npt.NDArray[np.uint8]
"""(T, H, W, C): C = 5 for r, g, b, x, y, the flow as `flow.quantise` has it; 3 for r, g, b; 1 for grey."""

SHARED = "frames.npy"
"""The file that all packs of one frame are in, beside a file a pack of the others."""
LEADING = 5
"""Leading frames that may be left out at most, and never more than a quarter of the clip."""
BLACK = 16
"""Mean brightness, 0..255, below which a row or column of a border is black."""
TOLERANCE = 0.04
"""Share of a side by which a black margin may change before it is another border."""
NO_CLIP = 10_000_000
"""A header that claims so many frames is broken."""


@dataclass(frozen=True)
class Packed:
    array: Pack
    """All frames, clip after clip."""
    lengths: list[int]
    """Frames of each clip."""
    dropped: int
    """Leading frames left out."""
    seconds: float
    """Length of the video as decoded, dropped frames included; 0 for a picture."""
    peak: int = 0
    """See `VideoInfo.peak`."""

    @property
    def clips(self) -> list[Pack]:
        """The pack of each clip that the video was cut into."""
        return np.split(self.array, np.cumsum(self.lengths)[:-1])


def check_flow(names: Iterable[str], p: Extract) -> None:
    """Raise UserError when `p` wants the flow of files of which one is a picture."""
    picture = next((name for name in names if is_picture(name)), None)
    if picture is not None and p.flow != "none":
        raise UserError(
            f"params.yaml: extract.flow is '{p.flow}', and a single picture such as {picture} has no motion: "
            "set extract.flow to none, and train.model to a network that needs no flow."
        )


def pack_clip(path: Path, p: Extract) -> Packed:
    """Decode, resize to `p.size` (aspect ratio not kept), sample and compute flow; the same bytes every time.

    The frame count is the decoded one: the header's claim is tried first and the clip is decoded a second
    time only when it was wrong. Raises UnreadableVideo for a clip that cannot be decoded and ValueError for
    one that is too short for the stride, as every picture is.
    """
    clip = _read(path, p)
    if clip.count != clip.believed:
        clip = _read(path, p, clip.count)
    if clip.count == 0:
        raise UnreadableVideo("no frame can be decoded")
    if clip.count != clip.believed:
        raise UnreadableVideo("it decodes to a different number of frames each time")
    if not clip.indices:
        raise ValueError(
            f"its {clip.count - clip.dropped} usable frames are too few for flow over a stride of {p.stride}"
        )
    seconds = clip.count / clip.fps if clip.fps else 0.0
    return Packed(_pack(clip, p), [len(part) for part in clip.indices], clip.dropped, seconds, clip.peak)


@dataclass(frozen=True)
class Job:
    """One clip to be packed into files; a pack that is there need not be made again."""

    clip: Path
    done: Path
    """`<done>.npy` is the pack and `<done>.json` its facts, written last."""
    p: Extract

    def facts(self) -> dict[str, Any] | None:
        """What is known of a finished pack; None when it is not there."""
        try:
            facts: dict[str, Any] = json.loads(self.done.with_suffix(".json").read_text())
            whole = self.done.with_suffix(".npy").stat().st_size == facts["bytes"]
        except (OSError, ValueError):
            return None
        return facts if whole else None


def pack(job: Job) -> None:
    """Do one job. Raises what `pack_clip` raises, and OSError when its files cannot be written."""
    packed = pack_clip(job.clip, job.p)
    _write(job.done.with_suffix(".npy"), lambda file: save_array(file, packed.array))
    facts = {
        "bytes": job.done.with_suffix(".npy").stat().st_size,
        "lengths": packed.lengths,
        "dropped": packed.dropped,
        "seconds": packed.seconds,
        "saturation": saturation(packed.array[..., 3:]),
    }
    _write(job.done.with_suffix(".json"), lambda file: file.write(json.dumps(facts).encode()))


def sample(count: int, dropped: int, p: Extract) -> list[list[int]]:
    """Indices of the sampled frames, a list a clip: the video of `count` frames without the leading `dropped`
    ones is cut into `p.clips` equal parts, and each is sampled evenly from its first frame to its last, every
    frame with one `p.reach` after it. How a clip begins and ends often tells most; a single frame is the
    middle one. None when the video is too short for that; one of fewer frames than `p.clips` gives fewer.

    `p.fraction` · T of them (P1; at least one), or exactly `p.frames` (P2): a clip with fewer repeats some,
    but where one frame is all there is, as in a picture, it is one.
    """
    usable = count - dropped - p.reach
    if usable < 1:
        return []
    clips = min(p.clips, usable)
    edges = [dropped + k * usable // clips for k in range(clips + 1)]
    share = max(1, round((p.fraction or 0) * (count - dropped) / clips))
    return [
        _evenly(start, end, 1 if count == 1 else p.frames or min(end - start, share))
        for start, end in pairwise(edges)
    ]


def _evenly(start: int, end: int, wanted: int) -> list[int]:
    if wanted == 1:
        return [(start + end) // 2]
    return [start + k * (end - start - 1) // (wanted - 1) for k in range(wanted)]


def leading_to_drop(small: Mapping[int, Frame], count: int) -> int:
    """How many leading frames have another black border than the frames that follow them.

    Recorders start some clips with a pillar-boxed, letter-boxed or black frame, in some states more often
    than in others; a model must not see it. A border that lasts beyond the frames examined is the clip's own,
    and only so many can go: boxed all along, faded in or cut, a clip keeps nearly all of its frames. `small`
    holds at least the frames of `_head(count)`.
    """
    lead, rest = _head(count)
    if not rest:
        return 0
    usual = np.median([black_border(small[i]) for i in rest], axis=0)
    for index in lead:
        if np.abs(black_border(small[index]) - usual).max() <= TOLERANCE:
            return index
    return len(lead)


def black_border(picture: Frame) -> npt.NDArray[np.float64]:
    """(4,) widths of the black margins left, right, top, bottom as shares of the side; 1: all is black."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    widths = []
    for axis in (0, 1):
        dark = cv2.reduce(grey, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel() < BLACK
        widths += [1.0 if dark.all() else float(np.argmin(side)) / len(side) for side in (dark, dark[::-1])]
    return np.array(widths)


def _head(count: int) -> tuple[range, range]:
    """The leading frames that are examined and those just after, which say what border is usual."""
    lead = min(LEADING, count // 4)
    return range(lead), range(lead, 2 * lead)


@dataclass
class _Pass:
    """What one pass over a clip brought, wanted under the belief that it has `believed` frames."""

    believed: int
    fps: float
    peak: int
    count: int = 0
    dropped: int = 0
    indices: list[list[int]] = field(default_factory=list)
    small: dict[int, Frame] = field(default_factory=dict)


def _read(path: Path, p: Extract, believed: int | None = None) -> _Pass:
    """Decode to the end, believing the header unless the count is known; keep resized what may be needed."""
    size = (p.size[1], p.size[0])
    with open_clip(path, p.bits) as reader:
        info = reader.info
        if believed is None:
            believed = info.frames if info.frames < NO_CLIP else 0
        clip = _Pass(believed, info.fps, info.peak)
        head = _head(believed)[1].stop
        wanted: set[int] = set()
        for index in reader:
            if index == head:
                clip.dropped = leading_to_drop(clip.small, believed)
                clip.indices = sample(believed, clip.dropped, p)
                for part in clip.indices:
                    wanted.update(part, (i + p.reach for i in part))
            if index < head or index in wanted:
                clip.small[index] = cv2.resize(reader.picture(), size, interpolation=cv2.INTER_AREA)
            clip.count = index + 1
    return clip


def _pack(clip: _Pass, p: Extract) -> Pack:
    indices = [index for part in clip.indices for index in part]
    array = np.empty((len(indices), *p.size, p.channels), np.uint8)
    for row, index in enumerate(indices):
        if row and index == indices[row - 1]:
            array[row] = array[row - 1]
        else:
            _see(clip.small[index], clip.small[index + p.reach], p, array[row])
    return array


def _see(here: Frame, there: Frame, p: Extract, out: Pack) -> None:
    """Fill `out` (H, W, C) with frame `here`, and where it is wanted with the flow from it to `there`."""
    if p.grey:
        out[..., 0] = cv2.cvtColor(here, cv2.COLOR_RGB2GRAY)
    elif p.flow == "none":
        out[:] = here
    else:
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (here, there)]
        motion = quantise(dense_flow(grey[0], grey[1], p.flow), p.bound)
        cv2.mixChannels([here, motion], [out], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])  # stacks them, fast


def save_array(file: IO[bytes], array: npt.NDArray[Any]) -> None:
    """Like np.save, which writes past Python, so that a full disk is an error without a number there."""
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Read-only: whoever wrote into a linked out would spoil the work as well."""
    with whole(path) as half, half.open("wb") as file:
        half.chmod(0o444)
        write(file)
