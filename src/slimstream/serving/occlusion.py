"""Occlusion maps (Zeiler and Fergus 2014): the places of a picture that an answer depends on.

A patch of the picture is covered in all frames of a clip, and the deployed network is asked again; the more
the odds of its answer fall, the more the answer depends on that place. This works for every network and
runtime and needs no PyTorch, but (CELLS - 1)² = 49 calls of the network a clip.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from slimstream.clips.packs import Pack

CELLS = 8
"""The map has CELLS rows and columns; a patch covers two by two cells, and neighbouring patches overlap."""
Heat = npt.NDArray[np.float64]


def occlusion_map(
    ask: Callable[[Pack], npt.NDArray[np.float64]], clip: Pack, target: int, at_once: int = 1
) -> Heat:
    """Where in the picture `clip` (T, H, W, C) uint8 shows what speaks for the class with index `target`.

    Args:
        ask: the network, clips (B, T, H, W, C) to probabilities (B, classes).
        clip: what the network sees of a file.
        target: index of a class.
        at_once: clips per call.

    Returns (CELLS, CELLS) in 0..1: by how much the log-odds of the class fall when the place is covered with
    the clip's mean colour and motion. It is scaled by its maximum, but at least by 1, so that a map stays
    faint where no single place matters.
    """
    rows, columns = (np.linspace(0, size, CELLS + 1).round().astype(int) for size in clip.shape[1:3])
    cover = clip.mean(axis=(0, 1, 2)).round().astype(np.uint8)
    patches = [(i, j) for i in range(CELLS - 1) for j in range(CELLS - 1)]
    before = _log_odds(ask(clip[None])[:, target])[0]
    fall, covered = np.zeros((2, CELLS, CELLS))
    for start in range(0, len(patches), at_once):
        some = patches[start : start + at_once]
        clips = np.repeat(clip[None], len(some), axis=0)
        for copy, (i, j) in zip(clips, some, strict=True):
            copy[:, rows[i] : rows[i + 2], columns[j] : columns[j + 2]] = cover
        after = _log_odds(ask(clips)[:, target])
        for (i, j), odds in zip(some, after, strict=True):
            fall[i : i + 2, j : j + 2] += before - odds
            covered[i : i + 2, j : j + 2] += 1
    mean = np.maximum(fall / covered, 0)
    scaled: Heat = mean / max(float(mean.max()), 1.0)
    return scaled


def _log_odds(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    p = np.clip(p, 1e-12, 1 - 1e-12)  # a probability of 1 would have infinite odds
    return np.asarray(np.log(p) - np.log1p(-p))
