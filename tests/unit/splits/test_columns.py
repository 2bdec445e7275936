"""What params.yaml asks of the columns of a source, and what is said where they do not give it."""

from typing import Any

import pytest

from slimstream.catalog.listing import LABELLED, FileStat, Item
from slimstream.core.errors import UserError
from slimstream.splits.columns import check_columns, effective_group_by
from slimstream.splits.params import SplitParams


def items(*labels: str, **columns: list[str]) -> list[Item]:
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    rows = rows or [{} for _ in labels]
    return [
        Item(f"{n}.mp4", label, FileStat(1), row)
        for n, (label, row) in enumerate(zip(labels, rows, strict=True))
    ]


def said(found: list[Item], classes: list[str] | None = None, **split: Any) -> list[str]:
    return check_columns(found, SplitParams(**split), classes or [])


@pytest.mark.parametrize(
    ("columns", "settings", "group_by"),
    [
        (["camera", "day"], {"group_by": ["camera"]}, ["camera"]),
        (["camera"], {}, []),
        ([], {"group_by": ["camera"]}, []),
        (["camera"], {"group_by": ["id"]}, ["id"]),
        (["given"], {"group_by": ["camera"]}, []),
        (["split"], {"group_by": ["camera"], "given": "split"}, []),
        (["U\u0308bung", "Übung"], {"group_by": ["U\u0308bung"]}, ["Übung"]),
    ],
)
def test_groups_are_columns_or_near_twin_sets(columns: list[str], settings: Any, group_by: list[str]) -> None:
    assert effective_group_by(columns, SplitParams(**settings)) == group_by


def test_a_folder_per_class_is_grouped_by_near_twins_and_that_is_said() -> None:
    (sentence,) = said(items("ok", "bad"), group_by=["camera"])
    assert (
        "not split by camera, so near-twin sets are the groups" in sentence and "may be flattered" in sentence
    )
    (sentence,) = said(items("ok", "bad"))
    assert "not split by camera or recording" in sentence, "also when none is asked for"
    assert said(items("ok", "bad"), group_by=["id"]) == []


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"group_by": ["part"]}, "split.group_by names 'part', .* there are camera, day: name one"),
        ({"group_by": ["camera", "part"]}, "split.group_by names 'part'"),
        ({"video": "film"}, "split.video names 'film', .* there are camera, day"),
        ({"given": "split"}, "split.given names 'split', .* there are camera, day"),
        ({"given": "day"}, r"split.given names 'day', where 2 clips .*\(0.mp4 says 'mon'\)"),
    ],
)  # fmt: skip
def test_a_column_that_is_not_there_is_one_sentence(split: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        said(items("ok", "bad", camera=["a", "b"], day=["mon", "tue"]), **split)


def test_a_folder_per_class_has_no_videos_and_no_given_split() -> None:
    for setting in ("video", "given"):
        with pytest.raises(
            UserError, match=f"split.{setting} names 'x', .*there are none: add it to metadata.csv"
        ):
            said(items("ok", "bad"), **{setting: "x"})


def test_a_given_split_that_is_not_used_is_told() -> None:
    found = items("ok", "bad", "ok", given=["train", "train", "test"])
    _, sentence = said(found)
    assert "(test: 1, train: 2)" in sentence and "set split.given to 'given'" in sentence
    assert said(found, given="given") == []


def test_labels_that_differ_in_case_or_spacing_are_told_unless_all_are_listed() -> None:
    found = items("ok", "OK", "ok", "no load", "no_load")
    one, other = said(found, group_by=["id"])
    assert "OK and ok differ in case or spacing alone" in one and "(OK: 1, ok: 2 clips)" in one
    assert "no load and no_load" in other
    assert said(found, ["ok", "OK", "no load", "no_load"], group_by=["id"]) == []


def test_a_label_that_is_not_allowed_is_told_before_any_work() -> None:
    with pytest.raises(
        UserError, match=r"unknown labels 'OK' \(as of 1.mp4\): validate.classes .* allows bad, ok"
    ):
        said(items("ok", "OK"), ["ok", "bad"])
    assert said(items("\u00fc"), ["u\u0308"], group_by=["id"]) == []


def test_unknown_is_an_answer_and_no_class() -> None:
    with pytest.raises(UserError, match=r"label 'Unknown' \(as of 1.mp4\) .* give this class another name"):
        said(items("ok", "Unknown"))


def test_groups_that_differ_in_case_or_spacing_are_told() -> None:
    found = items("ok", "ok", "bad", camera=["Gate", "gate", "roof"], other=["a", "A", "b"])
    (sentence,) = said(found, group_by=["camera"])
    assert "the values Gate and gate of camera" in sentence
    assert said(found, group_by=["id"]) == []


def test_a_given_split_and_a_test_group_exclude_one_another() -> None:
    with pytest.raises(ValueError, match="'given' or 'test_group', not both"):
        SplitParams(given="split", test_group="c1")


def test_a_state_that_was_named_in_the_inbox_is_allowed_and_a_slip_in_the_source_is_not() -> None:
    named = Item(f"{LABELLED}a.mp4", "foam", FileStat(1), {"camera": "gate"})
    own = items("ok", "bad", camera=["gate", "roof"])
    assert said([*own, named], ["ok", "bad"], group_by=["camera"]) == []
    with pytest.raises(UserError, match=r"unknown labels 'foam' .* allows bad, ok:"):
        said([*own, *items("foam", camera=["roof"])], ["ok", "bad"], group_by=["camera"])
