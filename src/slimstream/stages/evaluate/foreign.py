"""Clips that show something else: what share of them a deployed network calls unknown."""

from pathlib import Path

import numpy as np

from slimstream.clips.packs import pack_clip
from slimstream.core.errors import UserError
from slimstream.core.media import PICTURES, VIDEOS
from slimstream.core.paths import Paths
from slimstream.runtimes.split_part import spread_indices
from slimstream.stages.evaluate.deployed import Prediction

MOST = 200
"""Files that are looked at, spread over the folder."""


def foreign_files(folder: str | None, paths: Paths) -> list[Path]:
    """At most MOST videos and pictures in `folder` and below it; none where it is None.

    Raises UserError when there is nothing of the kind.
    """
    if folder is None:
        return []
    found = sorted(
        f for f in (paths.source_root / folder).rglob("*") if f.suffix.lower() in VIDEOS | PICTURES
    )
    if not found:
        raise UserError(
            f"params.yaml: evaluate.foreign names {folder}, where no video or picture is; name a folder of "
            "clips that show something else, or null."
        )
    return [found[i] for i in spread_indices(len(found), MOST)]


def share_unknown(r: Prediction, files: list[Path]) -> dict[str, float]:
    """`foreign`, how many of `files` the network can judge, and `foreign_unknown`, the share called unknown.

    Files that it cannot judge, such as pictures for a network that sees motion, do not count. Empty without a
    reference or without such files.
    """
    if r.calibration.reference is None:
        return {}
    found = []
    for file in files:
        try:
            clips = np.stack(pack_clip(file, r.card.network_input).clips).transpose(0, 1, 4, 2, 3)
            outputs = r.deployed(np.ascontiguousarray(clips))
        except Exception:  # a damaged file says nothing about the network
            continue
        found.append(r.calibration.answer(outputs, len(r.card.classes))[1].mean() > 1)
    return {"foreign": float(len(found)), "foreign_unknown": float(np.mean(found))} if found else {}
