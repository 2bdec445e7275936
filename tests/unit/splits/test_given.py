"""A split that came with the data: honoured as it is, and what is wrong with it is said."""

from typing import Any

import pandas as pd
import pytest

from slimstream.catalog.part_names import part_named
from slimstream.core.errors import UserError
from slimstream.splits.given import leaks, parts_of, split_as_given


def clips(counts: dict[str, int], twins: dict[str, str] | None = None) -> pd.DataFrame:
    """`counts` clips of each given part and of the labels a and b, each its own near-twin set and camera."""
    rows = [
        (f"{part}-{label}-{n:02d}", label, part)
        for part in counts
        for label in "ab"
        for n in range(counts[part])
    ]
    table = pd.DataFrame(rows, columns=["id", "label", "set"])
    table = table.assign(key=table["id"] + ".png", twin=table["id"], camera=table["id"])
    return table.assign(twin=[(twins or {}).get(name, name) for name in table["id"]])


def split(table: pd.DataFrame, **settings: Any) -> dict[str, str]:
    parts = split_as_given(table, settings.pop("group_by", []), "set", **settings)
    assert (
        list(parts.columns) == ["id", "label", "group", "twin", "part"]
        and parts["id"].is_monotonic_increasing
    )
    return dict(zip(parts["id"], parts["part"], strict=True))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Train", "train"), ("TRAINING", "train"), ("trainset", "train"), ("training_data", "train"),
        ("train2017", "train"), ("val_2017", "val"),
        ("val", "val"), ("valid", "val"), ("Validation", "val"), ("dev", "val"), ("te\u200bst ", "test"),
        ("Testing", "test"), ("test set", "test"), ("invalid", None), ("tests", None), ("", None),
    ],
)  # fmt: skip
def test_what_people_call_the_parts(name: str, part: str | None) -> None:
    assert part_named(name) == part


def test_a_given_split_is_used_as_it_is() -> None:
    table = clips({"train": 6, "valid": 2, "Test": 3})
    found = split(table.sample(frac=1, random_state=0))
    assert all(part == part_named(name.split("-")[0]) for name, part in found.items())


@pytest.mark.parametrize("count", [5, 40])
def test_without_val_a_share_of_train_becomes_it_and_test_stays(count: int) -> None:
    table = clips({"train": count, "test": 4}, {"train-a-01": "train-a-00", "test-a-00": "train-a-00"})
    found = split(table)
    assert {name for name, part in found.items() if part == "test"} == {*table["id"][table["set"] == "test"]}
    carved = [name for name, part in found.items() if part == "val"]
    assert len(carved) == pytest.approx(0.2 * 2 * count, abs=1) and {name[6] for name in carved} == {"a", "b"}
    assert found["train-a-00"] == found["train-a-01"], "twins stay together"
    assert found == split(table.sample(frac=1, random_state=1))
    by_camera = split(
        table.assign(camera=[f"c{int(name[-2:]) % 5}" for name in table["id"]]), group_by=["camera"]
    )
    cameras = {int(name[-2:]) % 5 for name, part in by_camera.items() if part == "val"}
    assert len(cameras) == 1, "whole groups"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train-a-00": "holdout"}, r"1 clips have no part of a split \(train-a-00.png says 'holdout'\)"),
        ({"train-a-00": " "}, r"1 clips have no part of a split \(train-a-00.png says nothing\)"),
        ({f"test-{label}-0{n}": "val" for label in "ab" for n in range(2)}, "puts no clip in test .train: 8"),
        ({f"train-{label}-0{n}": "val" for label in "ab" for n in range(4)}, "puts no clip in train"),
        ({f"train-a-0{n}": "val" for n in range(4)}, "leaves no clip of a to learn from"),
    ],
)  # fmt: skip
def test_a_split_that_cannot_be_meant_is_one_sentence(change: dict[str, str], words: str) -> None:
    table = clips({"train": 4, "test": 2})
    table["set"] = [change.get(name, part) for name, part in zip(table["id"], table["set"], strict=True)]
    with pytest.raises(UserError, match=f"split.given names 'set', wh.*{words}"):
        split(table)


def test_one_group_cannot_give_train_and_val() -> None:
    table = clips({"train": 4, "test": 2}).assign(camera="gate")
    with pytest.raises(UserError, match=r"cannot be taken out of train, which is one group \(gate\)"):
        split(table, group_by=["camera"])


def test_twins_across_parts_are_named() -> None:
    twins = {
        "test-a-00": "train-a-00",
        "test-b-01": "val-b-00",
        "val-a-00": "train-a-01",
        "train-b-01": "train-b-00",
    }
    table = clips({"train": 3, "val": 2, "test": 2}, twins)
    parts = split_as_given(table, [], "set")
    assert leaks(parts) == {"val": ["val-a-00"], "test": ["test-a-00", "test-b-01"]}
    assert leaks(split_as_given(clips({"train": 3, "test": 2}), [], "set")) == {"val": [], "test": []}


def test_values_need_not_be_strings_of_one_case() -> None:
    values = pd.Series(["Train", "TEST", "train"], index=["1", "2", "3"])
    assert parts_of(values, "set").tolist() == ["train", "test", "train"]
