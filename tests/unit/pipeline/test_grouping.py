"""Groups for clips that nobody described: which column or which part of a name is taken, and when none is."""

from collections.abc import Mapping, Sequence

import pytest

from slimstream.catalog.listing import FileStat, Item, Listing
from slimstream.pipeline.grouping import suggest
from slimstream.stages.ingest.name_columns import with_name_columns


def items(keys: Sequence[str], columns: Mapping[str, Sequence[str]] | None = None) -> list[Item]:
    """Clips of which the first folder is the class, or the second below train and test."""
    columns = columns or {}
    found = []
    for n, key in enumerate(keys):
        parts = key.split("/")
        label = parts[1] if parts[0] in ("train", "test") else parts[0]
        found.append(Item(key, label, FileStat(1), {name: values[n] for name, values in columns.items()}))
    return found


def names(pattern: str, groups: Sequence[str], clips: int = 3) -> list[str]:
    """Keys of two classes: `clips` of each group, where {g} is the group and {n} a number."""
    return [
        f"{label}/{pattern.format(g=group, n=number)}"
        for label in ("ok", "bad")
        for group in groups
        for number in range(clips)
    ]


PLAIN = names("{g}{n}.mp4", "abcd")
CAMERAS = [key[-6] for key in PLAIN]


def test_a_column_with_a_usual_name_is_taken_before_any_other() -> None:
    days = [f"day {ord(camera) % 3}" for camera in CAMERAS]
    found = suggest(items(PLAIN, {"colour": CAMERAS, "Datum": days, "Kamera_Nr": CAMERAS}))
    assert found.group_by == ["Kamera_Nr"] and found.columns is None and "Kamera_Nr tells" in found.why


def test_columns_that_cannot_be_groups_are_passed_over() -> None:
    columns = {
        "camera": [str(n) for n in range(len(PLAIN))],  # each clip has its own
        "machine": [key.split("/")[0] for key in PLAIN],  # tells the class
        "site": [*CAMERAS[:-1], ""],  # a clip without a value
        "set": ["train", "test"] * (len(PLAIN) // 2),
        "weight": [f"{ord(camera)}.5" for camera in CAMERAS],  # measured
        "operator": CAMERAS,
    }
    assert suggest(items(PLAIN, columns)).group_by == ["operator"]
    assert suggest(items(PLAIN, {k: v for k, v in columns.items() if k != "operator"})).group_by == ["series"]


@pytest.mark.parametrize(
    ("keys", "column", "values"),
    [
        (names("v_Ok_{g}_c0{n}.avi", ["g01", "g02", "g03"]), "recording", {"g01", "g02", "g03"}),
        (names("plant cam {g} nr {n}.mp4", "123"), "camera", {"cam 1", "cam 2", "cam 3"}),
        (names("Kamera{g}_{n}.mp4", "123"), "camera", {"Kamera1", "Kamera2", "Kamera3"}),
        (names("person0{g}_walks_{n}.avi", "123"), "person", {"person01", "person02", "person03"}),
        (names("{g}-{n}2.mp4", ["2024-01-03", "2024-02-04", "2024-11-30"]), "date", {"2024-01-03"}),
        (names("{g}120{n}00_x.mp4", ["20240103_", "20240204_", "20241130_"]), "date", {"20240103"}),
        (names("{g}/{n}.mp4", ["roof", "gate", "yard"]), "folder", {"roof", "gate", "yard"}),
        (names("Hof Süd {g} ({n}).mp4", "xyz"), None, None),
        (names("Hof {g}_0{n}.mp4", "xyz"), "series", {"Hof x", "Hof y", "Hof z"}),
    ],
)
def test_names_tell_groups(keys: list[str], column: str | None, values: set[str] | None) -> None:
    listed = items(keys)
    found = suggest(listed)
    if column is None:  # a bracket after the number: no name that we know
        assert found.group_by == []
        return
    assert found.group_by == [column] and found.columns and "file names hold" in found.why
    named = with_name_columns(Listing(listed, {}), found.columns).items
    assert values and values <= {item.groups[column] for item in named}


@pytest.mark.parametrize(
    "keys",
    [
        [f"{label}/{label}_{n:03d}.mp4" for label in ("ok", "bad") for n in range(9)],  # the class again
        [f"{label}/rec{n}.mp4" for label in ("ok", "bad") for n in range(9)],  # a count in every class
        names("cam{g}_{n}.mp4", "12"),  # two groups are too few for three parts
    ],
)
def test_without_groups_it_is_said_that_scores_may_be_flattered(keys: list[str]) -> None:
    found = suggest(items(keys))
    assert found.group_by == [] and found.columns is None and found.given is None
    assert "scores may be flattered" in found.why


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["north", "south"] * 12, "train, val and test need three groups and there are 2"),
        ([key.split("/")[0] for key in PLAIN], "all clips of bad, ok have the same value"),
        ([str(n) for n in range(len(PLAIN))], "its 24 values have fewer than 2 clips"),
        (["", *"nsw" * 8][: len(PLAIN)], "it is empty for some clips (1)"),
    ],
)
def test_of_a_column_that_cannot_be_used_the_reason_is_told(values: list[str], reason: str) -> None:
    keys = [f"{label}/Hof ({n}).mp4" for label in ("ok", "bad") for n in range(12)]
    found = suggest(items(keys, {"camera": values}))
    assert found.group_by == []
    assert found.why.startswith(f"The column camera is no group: {reason}"), found.why


def test_a_split_of_folders_is_kept_unless_groups_are_known() -> None:
    keys = [f"{part}/{label}/{n:02d}.png" for part in ("train", "test") for label in "ab" for n in range(6)]
    given = [key.split("/")[0] for key in keys]
    assert suggest(items(keys, {"given": given})).given == "given"
    parts = [f"p{n % 6}" for n in range(len(keys))]
    assert suggest(items(keys, {"given": given, "part": parts})).given is None
