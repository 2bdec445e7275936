"""Properties of a split, on made-up manifests of every kind."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimstream.core.errors import UserError
from slimstream.splits.groups import PARTS, components, folds, leave_one_group_out, split, split_hash, summary

SEVEN_THREE: dict[str, Any] = {"train": 0.7, "val": 0.0, "test": 0.3}
SEVEN_TWO_ONE: dict[str, Any] = {"train": 0.7, "val": 0.2, "test": 0.1}


def table(cameras: list[str], labels: list[str], twins: list[int] | None = None) -> pd.DataFrame:
    """One row a clip; `twins` numbers each clip's twin set."""
    ids = [f"clip{i:04d}" for i in range(len(cameras))]
    first: dict[int, str] = {}
    twin = ids if twins is None else [first.setdefault(t, i) for t, i in zip(twins, ids, strict=True)]
    return pd.DataFrame({"id": ids, "label": labels, "camera": cameras, "twin": twin, "held_out": False})


def even(cameras: int, per_class: int = 4, classes: str = "abc") -> pd.DataFrame:
    rows = [(f"cam{c:02d}", label) for c in range(cameras) for label in classes for _ in range(per_class)]
    return table([camera for camera, _ in rows], [label for _, label in rows])


@st.composite
def manifests(draw: st.DrawFn) -> pd.DataFrame:
    clips = draw(st.integers(8, 60))
    cameras = draw(st.integers(3, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    clips_table = table(
        [f"cam{c}" for c in rng.integers(0, cameras, clips)],
        [f"state{c}" for c in rng.integers(0, draw(st.integers(1, 4)), clips)],
        list(rng.integers(0, draw(st.sampled_from([clips // 2, clips * 4, clips * 30])), clips)),
    )
    clips_table["held_out"] = rng.random(clips) < draw(st.sampled_from([0.0, 0.05]))
    return clips_table


def possible(clips: pd.DataFrame, group: pd.Series) -> bool:
    """Whether train can hold all classes and leave a group for val, and one for test if none is held out."""
    held = set(group[clips["held_out"]])
    free = sorted(set(group) - held)
    classes = {g: set(clips["label"][group == g]) for g in free}
    return any(
        set().union(*(classes[g] for g in free if g not in away)) == set(clips["label"])
        for away in combinations(free, 1 if held else 2)
    )


@settings(deadline=None, max_examples=60)
@given(
    manifests(),
    st.sampled_from([[], ["camera"]]),
    st.sampled_from([SEVEN_THREE, SEVEN_TWO_ONE]),
    st.integers(0, 3),
)
def test_properties(clips: pd.DataFrame, group_by: list[str], ratios: dict[str, Any], seed: int) -> None:
    try:
        parts = split(clips, group_by, **ratios, seed=seed)
    except UserError:
        assert not possible(clips, components(clips, group_by))
        return
    assert sorted(parts["id"]) == sorted(clips["id"]) and set(parts["part"]) == set(PARTS)
    joined = parts.merge(clips[["id", "camera", "held_out"]], on="id")
    for column in ["twin", "group", *group_by]:
        assert joined.groupby(column)["part"].nunique().max() == 1, f"{column} straddles"
    assert (joined["part"][joined["held_out"]] == "test").all()
    assert set(joined["label"][joined["part"] == "train"]) == set(joined["label"])
    mixed = clips.sample(frac=1, random_state=seed)
    again = split(mixed, group_by, **ratios, seed=seed)
    pd.testing.assert_frame_equal(parts, again)
    assert split_hash(parts) == split_hash(again.sample(frac=1, random_state=1))


def shares(parts: pd.DataFrame) -> dict[str, float]:
    return {part: float((parts["part"] == part).mean()) for part in PARTS}


@pytest.mark.parametrize("seed", range(3))
def test_four_cameras_give_two_one_one(seed: int) -> None:
    info = summary(split(even(4), ["camera"], **SEVEN_THREE, seed=seed), ["camera"])
    assert {part: len(groups) for part, groups in info["groups"].items()} == {"train": 2, "val": 1, "test": 1}  # type: ignore[attr-defined]


@pytest.mark.parametrize("cameras", [10, 40])
def test_ratios_are_met_where_groups_allow(cameras: int) -> None:
    assert shares(split(even(cameras), ["camera"], **SEVEN_TWO_ONE)) == pytest.approx(
        {"train": 0.7, "val": 0.2, "test": 0.1}, abs=0.01
    )
    assert shares(split(even(cameras), ["camera"], **SEVEN_THREE))["test"] == pytest.approx(0.3, abs=0.01)


def test_val_is_carved_out_of_train_never_out_of_test() -> None:
    found = shares(split(even(1, 400), [], **SEVEN_THREE))
    assert found == pytest.approx({"train": 0.56, "val": 0.14, "test": 0.3}, abs=0.005)


@pytest.mark.parametrize("cameras", [9, 60])
def test_classes_are_spread_as_evenly_as_whole_groups_allow(cameras: int) -> None:
    rng = np.random.default_rng(0)
    names, labels = [], []
    for camera in range(cameras):
        for label, mean in {"common": 30, "rare": 4, "odd": 8 * (camera % 3)}.items():
            count = rng.poisson(mean)
            names += [f"cam{camera:02d}"] * count
            labels += [label] * count
    parts = split(table(names, labels), ["camera"], **SEVEN_TWO_ONE)
    by = pd.crosstab(parts["label"], parts["part"], normalize="index")[list(PARTS)]
    assert np.abs(by.to_numpy() - [0.7, 0.2, 0.1]).max() < (0.12 if cameras == 9 else 0.03)


def test_every_part_gets_a_class_of_three_groups() -> None:
    clips = even(12, 6, "ab")
    clips.loc[
        clips["camera"].isin(["cam03", "cam05", "cam08"]) & (clips.groupby("camera").cumcount() == 0), "label"
    ] = "c"
    for seed in range(3):
        assert summary(split(clips, ["camera"], **SEVEN_THREE, seed=seed), ["camera"])["lacking"] == {
            "train": [],
            "val": [],
            "test": [],
        }


def test_a_part_that_lacks_a_class_is_told() -> None:
    clips = even(5, 4, "ab")
    clips.loc[clips["camera"].isin(["cam00", "cam01"]) & (clips["label"] == "b"), "label"] = "c"
    clips = clips[(clips["label"] != "c") | clips["camera"].isin(["cam00", "cam01"])]
    lacking = summary(split(clips, ["camera"], **SEVEN_THREE), ["camera"])["lacking"]
    assert lacking == {"train": [], "val": ["c"], "test": []}


def test_sticky_while_groups_keep_coming() -> None:
    clips = even(6)
    tested: set[str] = set()
    for cameras in (6, 7, 9, 14, 30):
        clips = even(cameras)
        clips["held_out"] = clips["camera"].isin(tested)
        parts = split(clips, ["camera"], **SEVEN_THREE)
        now = set(parts["group"][parts["part"] == "test"])
        assert tested <= now
        tested = now
        assert shares(parts)["test"] == pytest.approx(0.3, abs=0.5 / cameras + 0.01)


def test_a_twin_of_a_held_out_clip_is_test_too() -> None:
    clips = table(["c"] * 12, list("ab") * 6, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    clips.loc[0, "held_out"] = True
    parts = split(clips, [], **SEVEN_THREE)
    assert (parts["part"][[0, 10]] == "test").all()


@pytest.mark.parametrize("camera", [f"cam0{c}" for c in range(4)])
def test_a_test_group_alone_is_test_and_one_other_is_val(camera: str) -> None:
    clips = even(4)
    clips["held_out"] = clips["camera"] == "cam00"  # what was held out does not mix into a fold
    parts = split(clips, ["camera"], **SEVEN_THREE, test_group=camera)
    of = parts.groupby("part")["group"].unique()
    assert list(of["test"]) == [camera] and len(of["val"]) == 1 and len(of["train"]) == 2


def test_the_group_of_several_columns() -> None:
    clips = even(4).assign(day=["mon", "tue"] * 24)
    parts = split(clips, ["camera", "day"], **SEVEN_THREE, test_group="cam02/tue")
    assert set(parts["group"][parts["part"] == "test"]) == {"cam02/tue"}
    assert len(leave_one_group_out(parts["group"])) == 8


def test_folds_are_named_once_and_each_is_a_test_group() -> None:
    clips = even(5)
    clips.loc[clips["id"] == "clip0012", "twin"] = "clip0000"  # a twin ties cam00 and cam01
    group = components(clips, ["camera"])
    assert leave_one_group_out(group) == ["cam00+cam01", "cam02", "cam03", "cam04"]
    for fold in leave_one_group_out(group):
        parts = split(clips, ["camera"], **SEVEN_THREE, test_group=fold)
        assert set(parts["group"][parts["part"] == "test"]) == {fold}
    assert set(
        split(clips, ["camera"], **SEVEN_THREE, test_group="cam01").query("part == 'test'")["group"]
    ) == {"cam00+cam01"}


def test_the_hash_tells_parts_apart() -> None:
    parts = split(even(4), ["camera"], **SEVEN_THREE)
    assert len(split_hash(parts)) == 12
    other = parts.assign(part=parts["part"].where(parts["id"] != "clip0000", "test"))
    assert split_hash(other) != split_hash(parts)


def test_many_groups_take_seconds() -> None:
    rng = np.random.default_rng(0)
    clips = table([f"c{i}" for i in rng.integers(0, 1500, 6000)], [f"s{i}" for i in rng.integers(0, 5, 6000)])
    assert shares(split(clips, ["camera"], **SEVEN_TWO_ONE))["test"] == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        (lambda t: t, {"test_group": "cam9"}, "'cam9' is no group; there are cam00, cam01, cam02, cam03"),
        (lambda t: t[t["camera"] < "cam02"], {}, "need three groups and there are 2 by camera"),
        (lambda t: t.drop(columns="camera"), {}, "names 'camera', which is no column"),
        (lambda t: t.assign(camera=t["camera"].where(t["id"] > "clip0001", "")), {}, "2 clips have no value"),
        (lambda t: t.assign(held_out=t["camera"] < "cam03"), {}, "all but 1 groups are test"),
        (
            lambda t: t[(t["label"] != "c") | (t["camera"] == "cam00")].assign(
                held_out=t["camera"] == "cam00"
            ),
            {},
            "no clip of c is left to learn from",
        ),
    ],
)
def test_what_cannot_be_split_is_said_in_a_sentence(change: Any, more: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        split(change(even(4)), ["camera"], **SEVEN_THREE, **more)


def test_few_groups_are_folds_and_many_are_spread_over_some() -> None:
    clips = pd.DataFrame(
        {
            "id": [f"{n:02d}" for n in range(40)],
            "label": ["a", "b"] * 20,
            "twin": [f"{n:02d}" for n in range(40)],
            "part": [f"p{n // 4}" for n in range(40)],
        }
    )
    assert set(folds(clips, ["part"], 10)) == set(clips["part"])
    found = folds(clips, ["part"], 5)
    assert set(found) == {f"fold{n}" for n in range(5)}
    assert (found.groupby(clips["part"]).nunique() == 1).all()
    assert (pd.crosstab(found, clips["label"]) == 4).all(axis=None)
    assert folds(clips.sample(frac=1, random_state=0), ["part"], 5).sort_index().equals(found.sort_index())
