"""A split that came with the data: read its parts and find near twins across parts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from slimstream.catalog.part_names import PART_WORDS, PARTS, part_named
from slimstream.core.errors import UserError
from slimstream.splits.groups import VAL_SHARE, assign_parts, components, split
from slimstream.splits.params import SplitParams


def parts_of(values: pd.Series, column: str) -> pd.Series:
    """Translate `values` of the column `column`, indexed by clip key, to "train", "val" or "test".

    Raises UserError for an unknown value, and when no clip is in train or in test.
    """
    of = {value: part_named(value) for value in values.unique()}
    parts = values.map(of)
    where = f"params.yaml: split.given names '{column}'"
    if (unknown := values[parts.isna()]).size:
        said = repr(unknown.iloc[0]) if unknown.iloc[0].strip() else "nothing"
        raise UserError(
            f"{where}, where {len(unknown)} clips have no part of a split ({unknown.index[0]} says {said}): "
            f"{', '.join(PART_WORDS)} are understood."
        )
    counts = {part: int((parts == part).sum()) for part in PARTS}
    if lacking := [part for part in ("train", "test") if not counts[part]]:
        raise UserError(
            f"{where}, which puts no clip in {' and '.join(lacking)} ("
            f"{', '.join(f'{part}: {count}' for part, count in counts.items())}): "
            "name such clips there, or take split.given out and the clips are split anew."
        )
    return parts


def split_as_given(
    clips: pd.DataFrame, group_by: Sequence[str], column: str, val: float = VAL_SHARE, seed: int = 0
) -> pd.DataFrame:
    """Split `clips` as `column` says. Returns `id, label, group, twin, part`, sorted by id.

    Without a val part, the share `val` of train becomes val, by whole groups and twin sets; test is never
    changed. The result does not depend on the order of the clips; `seed` breaks ties.
    Raises UserError as `parts_of` does, and when train would lack a class or have too few groups.
    """
    clips = clips.sort_values("id", ignore_index=True)
    part = pd.Series(parts_of(clips.set_index("key")[column], column).to_numpy(), index=clips.index)
    where = f"params.yaml: split.given names '{column}'"
    if not (part == "val").any():
        mine = clips[part == "train"]
        group = components(mine, group_by)
        counts = pd.crosstab(group, mine["label"])
        counts = counts.iloc[np.random.default_rng(seed).permutation(len(counts))]
        if len(counts) < 2:
            raise UserError(
                f"{where}, which gives no val part, and val cannot be taken out of train, which is one group "
                f"({counts.index[0]}): give a val part or change split.group_by."
            )
        chosen = assign_parts(counts.to_numpy(np.int64), np.array([1 - val, val]), np.full(len(counts), -1))
        part[mine.index] = group.map(dict(zip(counts.index, np.array(PARTS)[chosen], strict=True)))
    if lacking := sorted({*clips["label"]} - {*clips["label"][part == "train"]}):
        raise UserError(
            f"{where}, which leaves no clip of {', '.join(lacking)} to learn from: add some to train, or "
            "take split.given out."
        )
    group = components(clips, group_by)
    return clips[["id", "label"]].assign(group=group, twin=clips["twin"], part=part)


def divide(clips: pd.DataFrame, group_by: Sequence[str], settings: SplitParams) -> pd.DataFrame:
    """Return a table `id, label, group, twin, part`, with the given parts or new ones. Raises UserError."""
    if settings.given:
        val = settings.val / (settings.train + settings.val) if settings.val else VAL_SHARE
        return split_as_given(clips, group_by, settings.given, val, settings.seed)
    shares = settings.train, settings.val, settings.test
    return split(clips, group_by, *shares, test_group=settings.test_group, seed=settings.seed)


def leaks(parts: pd.DataFrame) -> dict[str, list[str]]:
    """Return ids of val clips with a near twin in train, and of test clips with one in train or val."""
    seen = {part: {*parts["twin"][parts["part"] == part]} for part in PARTS}
    known = {"val": seen["train"], "test": seen["train"] | seen["val"]}
    return {
        part: sorted(parts["id"][(parts["part"] == part) & parts["twin"].isin(twins)])
        for part, twins in known.items()
    }
