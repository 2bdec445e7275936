"""Split clips by groups: a group or twin set lies in one part, and earlier test clips stay in test."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from slimstream.catalog.manifest import group_columns
from slimstream.catalog.part_names import PARTS
from slimstream.core.errors import UserError

VAL_SHARE = 0.2
"""Share of train that becomes val when `split.val` is 0 (P1 splits 7:3, without val)."""
EXACT = 11
"""Up to this number of free components, all 3^n assignments are compared."""
LACK_COST = np.array([100.0, 1.0, 10.0])
"""Cost of a missing class in train, val, test. Deviations of shares cost less than 1 per class."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def missing_column(setting: str, column: str, columns: Sequence[str]) -> UserError:
    """Return the error for a `setting` that names a `column` which the clips do not have."""
    there = f"there are {', '.join(columns)}: name one of them or" if columns else "there are none:"
    without = ""
    if setting == "split.group_by":
        without = "; [] makes near-twin sets the groups, and the recipe auto chooses"
    return UserError(
        f"params.yaml: {setting} names '{column}', which is no column of the clips; {there} add it to "
        f"metadata.csv{without}."
    )


def group_names(clips: pd.DataFrame, group_by: Sequence[str]) -> pd.Series:
    """Return the group of each clip: its value in `group_by`, `a/b` for several columns, else its twin set.

    Raises UserError when a column is missing or a value is empty.
    """
    if not group_by:
        return clips["twin"].astype(str)
    for column in group_by:
        if column not in clips:
            raise missing_column("split.group_by", column, group_columns(clips))
        if empty := int((clips[column].isna() | (clips[column].astype(str).str.strip() == "")).sum()):
            raise UserError(
                f"{empty} clips have no value in the group column '{column}': "
                "fill it in metadata.csv or take it out of split.group_by."
            )
    values = clips[list(group_by)].astype(str).itertuples(index=False, name=None)
    return pd.Series(["/".join(row) for row in values], index=clips.index, dtype=str)


def components(clips: pd.DataFrame, group_by: Sequence[str]) -> pd.Series:
    """Return the component of each clip: groups that near twins join, named `one+other`. It stays whole.

    `clips` has `twin` and the columns of `group_by`; the result has its index.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    group = group_names(clips, group_by)
    g, names = pd.factorize(group, sort=True)
    t, twins = pd.factorize(clips["twin"].astype(str), sort=True)
    size = len(names) + len(twins)
    ties = coo_matrix((np.ones(len(clips)), (g, len(names) + t)), shape=(size, size))
    number = connected_components(ties, directed=False)[1][: len(names)]
    joined = pd.Series(names).groupby(number).agg(lambda tied: "+".join(sorted(tied)))
    return pd.Series(joined.loc[number[g]].to_numpy(str), index=clips.index, name="group", dtype=str)


def leave_one_group_out(groups: Iterable[str]) -> list[str]:
    """Return the sorted names of all groups. Each is `split.test_group` of one fold."""
    return sorted(set(groups))


def folds(clips: pd.DataFrame, group_by: Sequence[str], at_most: int, seed: int | None = None) -> pd.Series:
    """Return the fold of each clip: its component, or `fold0`, … with more than `at_most` components.

    Components stay together and classes are spread evenly. The result does not depend on the order of clips.
    With `seed` components are put together at random.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    clips = clips.sort_values("id")
    group = components(clips, group_by)
    if group.nunique() <= at_most:
        return group.rename("fold")
    fold = pd.Series("", index=clips.index, name="fold")
    kind = StratifiedGroupKFold(at_most, shuffle=seed is not None, random_state=seed)
    parts = kind.split(clips, clips["label"], group)
    for number, (_, judged) in enumerate(parts):
        fold.iloc[judged] = f"fold{number}"
    return fold


def split(
    clips: pd.DataFrame,
    group_by: Sequence[str],
    train: float,
    val: float,
    test: float,
    test_group: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Split `clips` into train, val and test. Returns `id, label, group, twin, part`, sorted by id.

    `clips` has `id, label, twin, held_out` and group columns. Shares are numbers of clips, overall and per
    class. `val` 0 takes a fifth of train, at least one group. A component with a held-out clip is in test
    again. With `test_group` only that group is test, and val is one other component. The result does not
    depend on the order of the clips; `seed` breaks ties.
    Raises UserError when there are too few groups.
    """
    clips = clips.sort_values("id", ignore_index=True)
    group = components(clips, group_by)
    counts = pd.crosstab(group, clips["label"])
    order = np.random.default_rng(seed).permutation(len(counts))
    counts = counts.iloc[order]
    if len(counts) < 3:
        what = f"by {', '.join(group_by)}" if group_by else "of clips that are no twins"
        raise UserError(
            f"train, val and test need three groups and there are {len(counts)} {what} "
            f"({', '.join(sorted(counts.index))}): add recordings or change split.group_by."
        )
    shares = np.array([train, val, test])
    if val == 0:
        shares[:2] = (1 - VAL_SHARE) * train, VAL_SHARE * train
    fixed = np.full(len(counts), -1)
    if test_group is None:
        held = set(group[clips["held_out"].fillna(False).astype(bool)])
        fixed[[name in held for name in counts.index]] = 2
    else:
        chosen = counts.index == _component_of(test_group, group, group_names(clips, group_by))
        fixed[chosen] = 2
    part = assign_parts(counts.to_numpy(np.int64), shares, fixed, one_val=test_group is not None)

    lacking = counts.columns[counts[part == 0].sum() == 0]
    if len(lacking):
        needed = group[clips["label"].isin(lacking)].unique()
        raise UserError(
            f"no clip of {', '.join(lacking)} is left to learn from: {', '.join(sorted(needed)[:10])} "
            "are needed for test and val; add clips of other groups."
        )
    of = {name: PARTS[p] for name, p in zip(counts.index, part, strict=True)}
    return clips[["id", "label"]].assign(group=group, twin=clips["twin"], part=group.map(of))


def split_hash(parts: pd.DataFrame) -> str:
    """Return 12 hex digits that depend on clips, labels and parts, but not on their order."""
    rows = sorted(zip(parts["id"], parts["label"], parts["part"], strict=True))
    return hashlib.sha256("\n".join("\t".join(row) for row in rows).encode()).hexdigest()[:12]


def summary(parts: pd.DataFrame, group_by: Sequence[str]) -> dict[str, object]:
    """Return the content of data/split.json: hash, classes, counts and groups by part, missing classes."""
    classes = sorted(parts["label"].unique())
    counts: Mapping[str, dict[str, int]] = {
        part: {label: int(((parts["part"] == part) & (parts["label"] == label)).sum()) for label in classes}
        for part in PARTS
    }
    return {
        "hash": split_hash(parts),
        "classes": classes,
        "counts": counts,
        "groups": {part: sorted(parts["group"][parts["part"] == part].unique()) for part in PARTS},
        "group_by": list(group_by),
        "lacking": {part: [c for c in classes if not counts[part][c]] for part in PARTS},
    }


def _component_of(test_group: str, component: pd.Series, group: pd.Series) -> str:
    found = component[(group == test_group) | (component == test_group)]
    if found.empty:
        raise UserError(
            f"params.yaml: split.test_group '{test_group}' is no group; there are "
            f"{', '.join(leave_one_group_out(component)[:20])}."
        )
    return str(found.iloc[0])


def assign_parts(counts: Ints, shares: Floats, fixed: Ints, one_val: bool = False) -> Ints:
    """Assign a part to each component, so that the shares are met best.

    `counts` (components, classes): clips. `shares` (parts,): wanted shares of the first two or all PARTS.
    `fixed` (components,): a part, or -1 when free. With `one_val`, val is exactly one component.
    Returns (components,) parts. Raises UserError when fewer than two components are free.
    """
    free = np.flatnonzero(fixed < 0)
    if len(free) < 2:
        raise UserError(
            f"all but {len(free)} groups are test, because they were before: train and val need one each; "
            "add recordings."
        )
    weights = np.column_stack([counts / counts.sum(axis=0), counts.sum(axis=1) / counts.sum()])
    parts = len(shares)
    base = np.stack([weights[fixed == p].sum(axis=0) for p in range(parts)])
    loads = weights[free]
    if one_val:
        ways = np.where(np.eye(len(free), dtype=bool), 1, 0)
    elif len(free) <= EXACT:
        ways = np.indices((parts,) * len(free)).reshape(len(free), -1).T
    else:
        ways = _search(loads, base, shares)[None]
    cost = np.concatenate(
        [
            _cost(base + np.eye(parts)[chunk].transpose(0, 2, 1) @ loads, shares)
            for chunk in np.array_split(ways, max(1, len(ways) * loads.size // 10**6))
        ]
    )
    part = fixed.copy()
    part[free] = ways[np.round(cost, 9).argmin()]
    return part


def _cost(filled: Floats, shares: Floats) -> Floats:
    """Cost (...,) of shares (..., parts, classes + 1): squared deviations plus LACKS per missing class."""
    lacking = (filled < 1e-12).astype(float)
    return (
        np.square(filled - shares[:, None]).sum((-1, -2))
        + (lacking[..., :-1].sum(-1) + 1e3 * lacking[..., -1]) @ LACK_COST[: len(shares)]
    )


def _search(loads: Floats, base: Floats, shares: Floats) -> Ints:
    """Greedy assignment (components,), largest component first, then improved by moves and swaps."""
    part = np.full(len(loads), -1)
    filled = base.copy()
    parts = len(shares)
    one = np.eye(parts)[:, :, None]
    for i in np.argsort(-loads[:, -1], kind="stable"):
        deviation = np.square(filled + one * loads[i] - shares[:, None]).sum((1, 2))
        part[i] = np.round(deviation, 9).argmin()
        filled[part[i]] += loads[i]
    cost = _cost(filled, shares)
    for _ in range(20):
        before = cost
        for i in range(len(loads)):
            # Candidate moves of i: to another part, alone or swapped with a component there.
            others = np.flatnonzero(part != part[i])
            others = others[:: max(1, len(others) // 100)]
            gain = (one - one[part[i]]) * loads[i]
            swap = (one[part[others]] - one[part[i]]) * (loads[i] - loads[others])[:, None]
            options = np.round(_cost(filled + np.concatenate([gain, swap]), shares), 12)
            best = int(options.argmin())
            if options[best] < cost - 1e-9:
                j = None if best < parts else int(others[best - parts])
                here, there = part[i], best if j is None else part[j]
                filled = filled + np.concatenate([gain, swap])[best]
                part[i] = there
                if j is not None:
                    part[j] = here
                cost = _cost(filled, shares)
        if cost > before - 1e-6:
            break
    return part
