"""Packs: the input of a model, made from a video or a picture with the same bytes in extract and in serving.

frames   0 1 2 3 4 5 6 7 8 9 …            one sequential pass; leading frames with another border left out
RGB          ■       ■       ■  → pack[t, …, :3], or grey in pack[t, …, :1]
flow         ■→□     ■→□     ■→□ → pack[t, …, 3:], from the same frame to the one `stride` later
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.clips.flow import dense_flow, quantise, saturation
from slimstream.clips.params import FLOW_CHANNELS, ExtractParams, NetworkInput
from slimstream.clips.reduce import kept_frames, shrink
from slimstream.clips.sampling import (
    Border,
    Pair,
    black_border,
    border_frames,
    leading_to_drop,
    plan_frames,
    surely_without_border,
)
from slimstream.clips.timeline import Timeline
from slimstream.clips.video import SkippingFailed, VideoReader, open_clip
from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.core.media import Frame, UnreadableVideo, is_picture

Pack = npt.NDArray[np.uint8]
"""(T, H, W, C): C = 5 for r, g, b, flow x, flow y (see `flow.quantise`); 3 for r, g, b; 1 for grey."""

SHARED = "frames.npy"
"""The file that holds all packs of one frame; every longer pack has its own file."""


@dataclass(frozen=True)
class PackedFile:
    """The packed clips of one video or picture."""

    array: Pack
    """The frames of all clips, one clip after the other."""
    lengths: list[int]
    """Frames of each clip."""
    dropped: int
    """Number of leading frames left out."""
    seconds: float
    """Length of the video as decoded, dropped frames included; 0 for a picture."""
    peak: int = 0
    """See `VideoInfo.peak`."""

    @property
    def clips(self) -> list[Pack]:
        """The pack of each clip of the video."""
        return np.split(self.array, np.cumsum(self.lengths)[:-1])


def check_flow(names: Iterable[str], p: ExtractParams) -> None:
    """Raise UserError when `p` asks for flow and one of the files `names` is a picture."""
    picture = next((name for name in names if is_picture(name)), None)
    if picture is not None and p.flow != "none":
        raise UserError(
            f"params.yaml: extract.flow is '{p.flow}', and a single picture such as {picture} has no motion: "
            "set extract.flow to none, and train.model to a network that needs no flow."
        )


def pack_clip(path: Path, p: ExtractParams) -> PackedFile:
    """Decode, resize to `p.size` (without keeping the aspect ratio), sample and compute flow.

    With a NetworkInput the result is `reduce_pack` of the pack that its other settings give, but frames and
    flow that are not wanted are not computed.

    The result is deterministic. Frames are chosen by their timestamps. The timestamps in the container are
    used first; the clip is decoded a second time only if they were wrong. Packets that no needed frame
    depends on are not decoded where that is exact (`VideoReader.skip_to`). So damage in other packets, or
    fewer frames than the container claims after the last needed one, is not noticed here; `validate` decodes
    everything.

    Raises UnreadableVideo for a clip that cannot be decoded or is damaged. Raises ValueError for one that is
    too short for the flow's stride (a picture is, unless the network sees no flow), or that has no frames at
    the wanted times.
    """
    p = NetworkInput.of(p)
    if is_picture(path) and not p.sees_flow:
        p = p.model_copy(update={"flow": "none"})  # whose second frame a picture does not have
    try:
        clip = _decode(path, p, None, skip=True)
    except SkippingFailed:
        clip = _decode(path, p, None)
    if not clip.as_believed:
        clip = _decode(path, p, clip.seen)
    if not clip.as_believed:
        raise UnreadableVideo("it decodes to a different number of frames each time")
    return _packed(clip, p)


def pack_frames(pictures: Sequence[Frame], seen: Timeline, p: ExtractParams) -> PackedFile:
    """Pack decoded frames, with the bytes that `pack_clip` makes of a file that holds just these.

    Args:
        pictures: a picture for each time of `seen`, made by `resize` to `p.size`.
        seen: the timeline of the pictures.
        p: as for `pack_clip`.

    Raises ValueError as `pack_clip` does.
    """
    p = NetworkInput.of(p)
    small = _SmallPictures(p.size)
    small.update(enumerate(pictures))
    return _packed(_DecodePass(seen, seen, _choose(small, seen, p), small, peak=0), p)


def resize(picture: Frame, size: tuple[int, int]) -> Frame:
    """The picture (H, W, 3) averaged to (height, width) `size`, whatever its aspect ratio."""
    small: Frame = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    return small


@dataclass(frozen=True)
class PackJob:
    """One clip to be packed into files."""

    clip: Path
    done: Path
    """`<done>.npy` is the pack and `<done>.json` its facts, written last."""
    p: ExtractParams

    def facts(self) -> dict[str, Any] | None:
        """Facts about a finished pack, such as its lengths; None when the pack is missing or incomplete."""
        try:
            facts: dict[str, Any] = json.loads(self.done.with_suffix(".json").read_text())
            whole = self.done.with_suffix(".npy").stat().st_size == facts["bytes"]
        except (OSError, ValueError):
            return None
        return facts if whole else None


def write_pack(job: PackJob) -> None:
    """Pack the clip of `job`. Raises the errors of `pack_clip`, and OSError when files cannot be written."""
    packed = pack_clip(job.clip, job.p)
    _write_read_only(job.done.with_suffix(".npy"), lambda file: save_array(file, packed.array))
    facts = {
        "bytes": job.done.with_suffix(".npy").stat().st_size,
        "lengths": packed.lengths,
        "dropped": packed.dropped,
        "seconds": packed.seconds,
        "saturation": saturation(packed.array[..., 3:]),
    }
    _write_read_only(job.done.with_suffix(".json"), lambda file: file.write(json.dumps(facts).encode()))


@dataclass(frozen=True)
class _Selection:
    """The number of leading frames that are left out, and the frames that are packed."""

    dropped: int = 0
    pairs: list[list[Pair]] = field(default_factory=list)
    wanted: frozenset[int] = frozenset()
    error: ValueError | None = None
    """Why no frames can be packed."""


@dataclass(frozen=True)
class _DecodePass:
    """The result of one decoding pass over a clip, with frames chosen by the timeline `believed`."""

    believed: Timeline | None
    seen: Timeline
    choice: _Selection
    small: dict[int, Frame]
    peak: int
    """See `VideoInfo.peak`."""

    @property
    def as_believed(self) -> bool:
        return self.believed is not None and np.array_equal(self.believed.ticks, self.seen.ticks)


class _SmallPictures(dict[int, Frame]):
    """Frames by index, resized to (height, width) `size`; one of `later` when it is first asked for.

    Of the frames at the beginning that are kept for a look at their border, most are never resized.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.later: dict[int, Callable[[], Frame]] = {}

    def add(self, index: int, picture: Frame) -> None:
        self[index] = resize(picture, self.size)

    def __missing__(self, index: int) -> Frame:
        self.add(index, self.later.pop(index)())
        return self[index]

    def border(self, index: int) -> Border:
        """The black margins of a frame, which is resized only if it may have some."""
        if index not in self:
            picture = self.later[index]()
            if surely_without_border(picture, self.size):
                return np.zeros(4)
            self.add(index, picture)
        return black_border(self[index])

    def settle(self, wanted: Collection[int]) -> None:
        """Make the pictures of `later` that are `wanted`, and forget the others."""
        for index in self.later.keys() & wanted:
            self[index]
        self.later.clear()


def _decode(path: Path, p: NetworkInput, believed: Timeline | None, skip: bool = False) -> _DecodePass:
    """Decode and keep the needed frames, resized to `p.size`; `skip`: leave out packets that are not needed.

    Frames are chosen by the timeline `believed`; None means the one in the container. Raises SkippingFailed.
    """
    small = _SmallPictures(p.size)
    choice = _Selection()
    with open_clip(path, p.bits) as reader:
        believed = believed or reader.claimed_timeline()
        examined = border_frames(len(believed.times))[1].stop if believed else -1
        if believed and not examined:
            choice = _choose(small, believed, p)
        for index in reader:
            if index in choice.wanted:
                small.add(index, reader.picture())
            elif index < examined:
                small.later[index] = reader.picture_later()
            if believed and index == examined - 1:
                choice = _choose(small, believed, p)
                small.settle(choice.wanted)
                if skip and not choice.error and isinstance(reader, VideoReader):
                    reader.skip_to(choice.wanted)
        if wrong := reader.damage():
            raise UnreadableVideo(wrong)
        return _DecodePass(believed, reader.timeline(), choice, small, reader.info.peak)


def _choose(small: _SmallPictures, seen: Timeline, p: NetworkInput) -> _Selection:
    """Choose frames by the timeline `seen`; `small` holds the frames of `sampling.border_frames`."""
    dropped = leading_to_drop(small.border, len(seen.times))
    try:
        pairs = plan_frames(seen, dropped, p)
    except ValueError:
        dropped = 0  # keep frames with another border rather than lose the clip
        try:
            pairs = plan_frames(seen, dropped, p)
        except ValueError as error:
            return _Selection(error=error)
    if p.reduce is not None:
        pairs = [[part[i] for i in kept_frames(len(part), p.reduce.frames)] for part in pairs]
    if not p.sees_flow:
        pairs = [[(here, here) for here, _ in part] for part in pairs]
    return _Selection(dropped, pairs, frozenset(frame for part in pairs for pair in part for frame in pair))


def _packed(clip: _DecodePass, p: NetworkInput) -> PackedFile:
    if clip.choice.error:
        raise clip.choice.error
    lengths = [len(part) for part in clip.choice.pairs]
    return PackedFile(_pack(clip, p), lengths, clip.choice.dropped, clip.seen.seconds, clip.peak)


def _pack(clip: _DecodePass, p: NetworkInput) -> Pack:
    pairs = [pair for part in clip.choice.pairs for pair in part]
    array = np.empty((len(pairs), *p.shown_size, p.channels), np.uint8)
    for row, (here, there) in enumerate(pairs):
        if row and (here, there) == pairs[row - 1]:
            array[row] = array[row - 1]
        else:
            _write_frame(clip.small[here], clip.small[there], p, array[row])
    return array


def _write_frame(here: Frame, there: Frame, p: NetworkInput, out: Pack) -> None:
    """Fill `out` (H, W, C) with frame `here` and, if `p` asks for flow, the flow from it to `there`."""
    if p.grey:
        out[:] = shrink(cv2.cvtColor(here, cv2.COLOR_RGB2GRAY)[..., None], p.shown_size)
    elif p.flow == "none" or not p.sees_flow:
        out[:] = shrink(here, p.shown_size)
    else:
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (here, there)]
        motion = shrink(quantise(dense_flow(grey[0], grey[1], p.flow), p.bound), p.shown_size)
        if p.channels == FLOW_CHANNELS:
            out[:] = motion
        else:  # a fast way to stack channels
            seen = shrink(here, p.shown_size)
            cv2.mixChannels([seen, motion], [out], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])


def save_array(file: IO[bytes], array: npt.NDArray[Any]) -> None:
    """Like np.save, but a full disk raises OSError with an errno, which np.save does not set."""
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)


def _write_read_only(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a read-only file: a change through a hard link would also change the work folder's copy."""
    with atomic_write(path) as half, half.open("wb") as file:
        half.chmod(0o444)
        write(file)
