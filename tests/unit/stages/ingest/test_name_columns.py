"""`ingest.columns`: columns that are read from the names of clips."""

from pathlib import Path

import pytest

from slimstream.catalog.listing import FileStat, Item, Listing
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.stages.ingest.name_columns import with_name_columns
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.scan import read_lock, scan
from slimstream.stages.ingest.stage import run
from tests.unit.clips.rendered_clips import texture, write_picture


def listing(*keys: str, **groups: str) -> Listing:
    return Listing([Item(key, "ok", FileStat(1), groups) for key in keys], {})


def test_each_named_group_is_a_column_and_a_clip_without_it_has_none() -> None:
    pattern = r"(?P<camera>cam\d)_(?P<at>\w+)"
    found = with_name_columns(listing("ok/cam1_mon.mp4", "ok/x.mp4", day="1"), pattern)
    assert [dict(item.groups) for item in found.items] == [
        {"day": "1", "camera": "cam1", "at": "mon"},
        {"day": "1", "camera": "", "at": ""},
    ]


@pytest.mark.parametrize("name", ["day", "label", "twin"])
def test_a_column_that_is_there_is_not_replaced(name: str) -> None:
    with pytest.raises(UserError, match=f"names the column '{name}', which is there already"):
        with_name_columns(listing("ok/cam1.mp4", day="1"), rf"(?P<{name}>cam\d)")


@pytest.mark.parametrize("pattern", [r"cam\d", "(", "(?P<a b>x)"])
def test_an_expression_that_names_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="columns"):
        IngestParams(source="../clips", columns=pattern)


def test_ingest_wants_a_scan_with_the_same_columns(tmp_path: Path) -> None:
    for name in ("cam1_0", "cam2_0"):
        write_picture(tmp_path / f"plant/ok/{name}.png", texture(32))
    paths, plain = Paths(tmp_path), IngestParams(source="plant")
    named = IngestParams(source="plant", columns=r"(?P<camera>cam\d)")
    scan(plain, [], paths)
    with pytest.raises(UserError, match="run `python -m slimstream scan`"):
        run(named, paths, null_log)
    scan(named, [], paths)
    assert run(named, paths, null_log)["clips"] == 2
    assert [item.groups["camera"] for item in read_lock(paths.source_lock).listing.items] == ["cam1", "cam2"]
    for changed in (r"(?P<camera>cam\d_\d)", None):  # another expression for the same column, and none
        with pytest.raises(UserError, match="run `python -m slimstream scan`"):
            run(named.model_copy(update={"columns": changed}), paths, null_log)
    assert not scan(named, [], paths).differs
    assert scan(plain, [], paths).differs and run(plain, paths, null_log)["clips"] == 2
