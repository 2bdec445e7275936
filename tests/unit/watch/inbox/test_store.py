"""The folder of the inbox stays whole, whatever happens."""

import csv
import json
from pathlib import Path

import pytest

from slimstream.watch.inbox import labels
from slimstream.watch.inbox.store import Store
from tests.unit.watch.inbox.windows import item, kept


def rows(store: Store) -> list[dict[str, str]]:
    with (store.folder / "metadata.csv").open() as file:
        return list(csv.DictReader(file))


def test_labelled_windows_are_in_the_table_and_others_are_not(tmp_path: Path) -> None:
    one, two, three = item(1), item(2), item(3)
    store = kept(tmp_path / "inbox", one, two, three)
    assert not (store.folder / "metadata.csv").exists()
    labels.label(store, one.id, "foam, or not")
    labels.dismiss(store, two.id)
    assert rows(store) == [
        {
            "path": one.clip,
            "label": "foam, or not",
            "camera": "gate",
            "day": "2026-01-02",
            "time": "2026-01-02T03:04:01.000+00:00",
        }
    ]
    assert [each.open for each in Store(store.folder).items().values()] == [False, False, True]
    labels.undo(store, one.id)
    assert rows(store) == [] and store.items()[one.id] == one


def test_what_a_killed_process_left_is_mended(tmp_path: Path) -> None:
    whole, labelled, lone = item(1), item(2, label="leak", decided="now"), item(3)
    store = kept(tmp_path, whole, labelled)
    (tmp_path / lone.clip).write_bytes(b"its JSON was not written any more")
    (tmp_path / f"temporary-host-1-{lone.clip}").write_bytes(b"half")
    (tmp_path / "mine.mp4").write_bytes(b"not ours")
    (tmp_path / "metadata.csv").write_text("path,label\n")
    store.clean()
    names = {file.name for file in tmp_path.iterdir()}
    ours = {f"{each.id}{end}" for each in (whole, labelled) for end in (".json", ".mp4")}
    assert names == ours | {"mine.mp4", "metadata.csv"}
    assert [row["path"] for row in rows(store)] == [labelled.clip]


def test_a_damaged_file_costs_no_other_and_no_path_leaves_the_folder(tmp_path: Path) -> None:
    good, bad, liar = item(1), item(2), item(3)
    store = kept(tmp_path, good, bad, liar)
    (tmp_path / f"{bad.id}.json").write_text('{"id": "')
    (tmp_path / f"{liar.id}.json").write_text(
        json.dumps(json.loads(liar.to_json()) | {"id": "../../etc/passwd"})
    )
    assert list(store.items()) == [good.id]
    store.clean()
    assert (tmp_path / bad.clip).exists()  # a person may mend it


def test_a_clip_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        Store(tmp_path).add(item(), full)
    assert not list(tmp_path.iterdir())
