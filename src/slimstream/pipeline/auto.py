"""The recipe `auto`: look at a source that nobody described, and choose the settings that fit it.

A choice that needs a reason has a sentence, which becomes a comment of params.yaml.
"""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any

from slimstream.catalog.listing import Item
from slimstream.core.errors import UserError
from slimstream.core.media import UnreadableVideo, VideoInfo, is_picture
from slimstream.core.paths import Paths
from slimstream.core.simulated import SIMULATED
from slimstream.pipeline.grouping import Grouping, suggest
from slimstream.pipeline.params import Params
from slimstream.pipeline.params_file import Key, from_recipe
from slimstream.pipeline.recipes import AUTO, Settings, merge
from slimstream.splits.params import SplitParams
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.sources import normalise, open_source, samples

LOOKED_AT = 5
"""Clips whose headers are read."""
MANY_PICTURES = 2000
"""From so many pictures on they are looked at with the 128 pixels of the recipe casting."""
FLOW_STEP = 0.2
"""Seconds between the two frames that optical flow is computed of."""

Choice = tuple[Key, Any, str]
"""A setting, its value, and why."""


def auto_params(source: str | None, recipes: Path, paths: Paths) -> str:
    """The text of params.yaml for the clips of `source`, a folder (a relative path is below `paths`) or S3.

    `recipes` is the folder of the recipes that it starts from. Raises UserError without a source, and when it
    cannot be listed.
    """
    if not source or source in SIMULATED:
        raise UserError("The recipe 'auto' looks at clips: name them, as `make run SOURCE=<folder>`.")
    params = IngestParams(source=source)
    opened = open_source(params, normalise(source), paths)
    items = opened.list().items
    with samples(opened, items, LOOKED_AT) as files:
        seen = list(filter(None, map(_probe, files)))
    pictures = is_picture(items[0].key)
    groups = suggest(items)
    choices = [
        (("recipe",), AUTO, ""),
        (("ingest", "source"), source, _sight(items, seen, pictures)),
        *_groups(groups),
        *([] if groups.given else _shares(len(items))),
        *(_picture_size(len(items)) if pictures else _motion(seen)),
        (
            ("publish", "name"),
            model_name(source, paths),
            "from the path of the source, its own for each source",
        ),
        (
            ("publish", "gate"),
            {"min_macro_f1": Params().publish.gate.min_macro_f1, "min_saving": 0.0},
            "a first version need not save anything; raise both when you know what your clips allow",
        ),
    ]
    changes: Settings = {}
    for key, value, _ in choices:
        for name in reversed(key):
            value = {name: value}
        changes = merge(changes, value)
    return from_recipe(
        recipes / ("casting.yaml" if pictures else "tank.yaml"),
        changes,
        {key: why for key, _, why in choices if why},
        f"Settings for {source}, chosen by `auto`, which looked at the clips. Comments that begin with "
        "'auto:' give its reasons.",
    )


def _probe(file: Path) -> VideoInfo | None:
    from slimstream.clips.video import probe

    with suppress(UnreadableVideo, OSError):  # validate will say so
        return probe(file)
    return None


def _sight(items: Sequence[Item], seen: Sequence[VideoInfo], pictures: bool) -> str:
    """What the source holds, such as "426 videos of 4 classes (…); the 5 looked at have …"."""
    labels = Counter(item.label for item in items)
    classes = ", ".join(f"{label} {count}" for label, count in labels.most_common(10))
    more = ", …" if len(labels) > 10 else ""
    text = f"{len(items)} {'pictures' if pictures else 'videos'} of {len(labels)} classes ({classes}{more})"
    if seen:
        sizes = Counter(f"{one.width} × {one.height}" for one in seen).most_common(1)[0][0]
        text += f"; those looked at ({len(seen)}) have {sizes} pixels"
        if not pictures:
            length, rate = median(one.seconds for one in seen), median(one.fps for one in seen)
            text += f" and last {length:.1f} s at {rate:.0f} frames a second"
    return text


def _groups(found: Grouping) -> list[Choice]:
    return [
        (("ingest", "columns"), found.columns, found.why if found.columns else ""),
        (("split", "given"), found.given, found.why if found.given else ""),
        (("split", "group_by"), found.group_by, "" if found.columns or found.given else found.why),
    ]


def _shares(clips: int) -> list[Choice]:
    """Shares of the parts: those of SplitParams, or half of the clips for test where there are few."""
    usual, least = SplitParams(), Params().publish.gate.min_clips
    if clips * usual.test >= least:
        return [(("split",), {"train": usual.train, "val": usual.val, "test": usual.test}, "")]
    why = f"of so few clips half are test: a champion is judged on publish.gate.min_clips ({least}) at least"
    return [(("split",), {"train": 0.5, "val": 0.0}, ""), (("split", "test"), 0.5, why)]


def _picture_size(pictures: int) -> list[Choice]:
    if pictures >= MANY_PICTURES:
        return []
    why = "so few pictures can be looked at as large as the networks were pretrained"
    sizes = [[224, 224], [160, 160], [128, 128]]
    return [(("extract", "size"), sizes[0], why), (("search", "sizes"), sizes, "")]


def _motion(seen: Sequence[VideoInfo]) -> list[Choice]:
    stride = max(1, round(FLOW_STEP * median([one.fps for one in seen] or [25.0])))
    return [
        (("extract", "stride"), stride, f"frames of about {FLOW_STEP} s, between which flow is computed"),
        (("baseline", "reduce"), {"frames": 4, "streams": "rgb"}, "so that a first model answers soon"),
    ]


def model_name(source: str, paths: Paths) -> str:
    """The last two parts of the source's path and a hash of all of it: a-clips-1f93 for /data/a/clips.

    So each source has a model of its own: versions from other clips would be compared with its champion.
    """
    whole = normalise(source)
    if "://" not in whole:
        whole = os.path.normpath(paths.source_root.resolve() / whole)
    plain = unicodedata.normalize("NFKD", "-".join(PurePosixPath(whole).parts[-2:]).replace("ß", "ss"))
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", plain.encode("ascii", "ignore").decode()).strip("-")
    return f"{words or AUTO}-{hashlib.sha256(whole.encode()).hexdigest()[:4]}"
