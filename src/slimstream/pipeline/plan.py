"""The plan that `scan` prints before anything long: what is there, who judges, about how long it takes."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from slimstream.catalog.listing import LABELLED, Item
from slimstream.catalog.part_names import PARTS
from slimstream.core.errors import UserError
from slimstream.core.media import is_picture
from slimstream.core.parallel import cores
from slimstream.core.paths import Paths
from slimstream.core.simulated import SIMULATED
from slimstream.pipeline.grouping import clip_table
from slimstream.pipeline.params import Params
from slimstream.splits.columns import COUNTED, effective_group_by, too_few_test_clips
from slimstream.splits.given import divide
from slimstream.splits.params import SplitParams
from slimstream.stages.ingest.scan import read_lock
from slimstream.stages.ingest.sources import open_source, samples

TIMED, FEW = 2, 20
"""Clips that are timed; with fewer clips than FEW the time of starting programs is what counts."""
FIRST, WHOLE = 45.0, 180.0
"""Seconds that a run takes until the first model, and in all, whatever the clips."""
LOOKS, EPOCH = 2.0, 1.0
"""Passes of the network over the clips beside training, and those that an epoch amounts to.

Both are fitted to what runs took: search and later networks see less, training takes many at once."""


def plan(params: Params, paths: Paths, items: Sequence[Item], source: str | None = None) -> list[str]:
    """Return sentences about a run on the clips `items`; with their `source` also how long it will take.

    Raises UserError when split.group_by names no column.
    """
    kind = "pictures" if is_picture(items[0].key) else "videos"
    counts = Counter(item.label for item in items)
    classes = ", ".join(f"{label} {count}" for label, count in counts.most_common(10))
    held_out = read_lock(paths.source_lock).held_out if paths.source_lock.exists() else ()
    told = [f"{len(items)} {kind} of {len(counts)} classes ({classes}{', …' * (len(counts) > 10)})."]
    told += outlook(items, params.split, params.publish.gate.min_clips, held_out)
    if source and source not in SIMULATED:
        first, whole = seconds(params, paths, items, source)
        told.append(
            f"about {_spoken(whole)} on the {cores()} cores of this machine, when they are idle, and about "
            f"{_spoken(first)} until a first model of frozen features answers."
        )
    return [f"plan: {sentence}" for sentence in told]


def outlook(items: Sequence[Item], settings: SplitParams, least: int, held_out: Iterable[str]) -> list[str]:
    """Return sentences about the split of the clips `items`: its parts, and whether enough clips are judged.

    `least` is publish.gate.min_clips, `held_out` are the keys of clips that were in a test part before.
    Raises UserError when split.group_by names no column.
    """
    group_by = effective_group_by({column for item in items for column in item.groups}, settings)
    whole = [item for item in items if all(item.groups.get(name, "-") for name in group_by)]
    clips = clip_table(whole, held_out)  # validate sets the others aside
    if not set(group_by) <= {*clips}:  # a column that ingest makes, such as the size
        return []
    try:
        parts = divide(clips, group_by, settings)
    except UserError as error:
        return [f"the clips cannot be split as they are: {error}"]
    count = parts["part"].value_counts()
    of = parts.groupby("part")["group"].nunique()
    told = [
        f"{part} {count.get(part, 0)} clips" + (f" in {of.get(part, 0)}" if group_by else "")
        for part in PARTS
    ]
    few = too_few_test_clips(int(count.get("test", 0)), least, settings, group_by)
    enough = f"{count.get('test', 0)} test clips suffice for a champion ({least} are needed; {COUNTED})."
    by = f"groups by {', '.join(group_by)}" if group_by else "near-twin sets at most"
    split = f"{parts['group'].nunique()} {by}; the split will be about"
    if settings.given:
        split = f"the split that came with the clips (column '{settings.given}') is kept, about"
    told = [f"{split}: {', '.join(told)}.", few or enough]
    if group_by and of.get("test") == 1 and not few:
        told.append(
            f"the test clips are of one {group_by[0]} only, which tells little about another: `make folds` "
            "leaves out each in turn."
        )
    return told


def seconds(params: Params, paths: Paths, items: Sequence[Item], source: str) -> tuple[float, float]:
    """Return the seconds until the first model and in all, when all cores are idle; a rough estimate.

    It rests on the processor time of some clips, which other work on this machine does not change much.
    """
    if len(items) < FEW:
        return FIRST, WHOLE
    own = [item for item in items if not item.key.startswith(LABELLED)]
    with samples(open_source(params.ingest, source, paths), own, TIMED) as files:
        times = _clip_seconds(files, params)
    if times is None:
        return FIRST, WHOLE
    prepare, baseline, network = (len(items) * seconds / cores() for seconds in times)
    epochs = params.train.fit.epochs + params.prune.fit.epochs + 2 * params.distill.fit.epochs
    first = prepare + baseline
    return FIRST + first, WHOLE + first + (LOOKS + EPOCH * epochs) * network


def _clip_seconds(files: Sequence[Path], params: Params) -> tuple[float, float, float] | None:
    """Processor time to decode and pack a clip, and of the baseline and the network on it, in seconds.

    None when no clip can be read.
    """
    import cv2
    import torch

    from slimstream.clips.packs import pack_clip
    from slimstream.clips.reduce import reduce_pack
    from slimstream.models import create_model
    from slimstream.stages.baseline.stage import network
    from slimstream.stages.validate.survey import survey

    packed, prepare = [], []
    for file in files:
        start = time.process_time()
        with suppress(ValueError, OSError, cv2.error):  # too short for flow, damaged: others may do
            survey(file, params.extract.bits)
            packed += pack_clip(file, params.extract).clips
            prepare.append(time.process_time() - start)
    if not packed:
        return None
    passes = []
    for name, args, reduce in (
        (network(params.baseline, params.extract), params.baseline.model_args, params.baseline.reduce),
        (params.train.model, params.train.model_args, None),
    ):
        clip = torch.from_numpy(reduce_pack(packed[-1], reduce).copy()).permute(0, 3, 1, 2)[None]
        model = create_model(name, 2, **args).eval()
        with torch.inference_mode():
            model(clip)  # the first call is slower
            start = time.process_time()
            model(clip)
        passes.append((time.process_time() - start) * len(packed) / len(prepare))
    return sum(prepare) / len(prepare), passes[0], passes[1]


def _spoken(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' * (minutes > 1)}" if minutes < 120 else f"{minutes / 60:.0f} hours"
