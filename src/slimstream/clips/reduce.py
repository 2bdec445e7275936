"""What a network sees of a pack: fewer frames, smaller pictures, one stream.

    pack (T, H, W, 5)  → every few frames → frames alone, or flow alone → averaged to a smaller size

Flow keeps its scale: its bytes still count pixels of the packed picture, not of the smaller one.
"""

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.clips.params import Reduction

Bytes = npt.NDArray[np.uint8]

RGB_CHANNELS = 3


def kept_frames(count: int, frames: int | None) -> list[int]:
    """Indices of the frames that are kept of `count` ones: the first, the last and evenly between them.

    Halves are rounded down. With one it is the middle frame, with None all are kept. A clip of fewer frames
    than `frames` keeps all and repeats none.
    """
    if frames is None or frames >= count:
        return list(range(count))
    if frames == 1:
        return [(count - 1) // 2]
    gaps = frames - 1
    return [(2 * k * (count - 1) + gaps - 1) // (2 * gaps) for k in range(frames)]


def reduce_pack(pack: Bytes, reduction: Reduction | None) -> Bytes:
    """What a network with `reduction` sees of the pack (T, H, W, C) of one clip: (T', H', W', C') uint8.

    C' is C for both streams, 3 (1 for grey) for rgb, 2 for flow. Raises ValueError when flow is wanted of a
    pack that has none.
    """
    if reduction is None:
        return pack
    return reduce_pictures(pack[kept_frames(len(pack), reduction.frames)], reduction)


def reduce_pictures(pack: Bytes, reduction: Reduction | None) -> Bytes:
    """Like `reduce_pack`, but all frames are kept."""
    if reduction is None:
        return pack
    rgb, flow = pack[..., :RGB_CHANNELS], pack[..., RGB_CHANNELS:]
    if reduction.streams == "flow" and not flow.shape[-1]:
        raise ValueError("the pack has no flow")
    if reduction.size is None and reduction.streams == "both":
        return pack
    # Stream by stream, as `pack_clip` does: OpenCV resizes at most four channels, and may round differently
    # for another number.
    streams = {"rgb": [rgb], "flow": [flow], "both": [rgb, flow]}[reduction.streams]
    parts = [_shrink_all(part, reduction.size) for part in streams if part.shape[-1]]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def shrink(picture: Bytes, size: tuple[int, int] | None) -> Bytes:
    """The picture (H, W, C) of one stream, averaged to the height and width `size`; None: as it is."""
    if size is None or picture.shape[:2] == size:
        return picture
    small = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8).reshape(*size, picture.shape[2])  # OpenCV drops a single channel


def _shrink_all(pictures: Bytes, size: tuple[int, int] | None) -> Bytes:
    if size is None:
        return pictures
    return np.stack([shrink(np.ascontiguousarray(picture), size) for picture in pictures])
