"""Clips that were in a test part before, by content and by group, so that none is ever trained on.

A renamed or moved clip is recognised by its content. The record is kept in source.lock.json and in the
lineage of every registered version.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.stages.ingest.reserved_folders import dvc_cache, stages

if TYPE_CHECKING:
    import pandas as pd

Group = frozenset[tuple[str, str]]
"""The values that make a group, by column, such as {("camera", "roof")}."""


@dataclass(frozen=True)
class HeldOut:
    """Clips that were in a test part, and groups of which all clips were."""

    sha256: frozenset[str] = frozenset()
    groups: frozenset[Group] = frozenset()

    def __or__(self, other: "HeldOut") -> "HeldOut":
        return HeldOut(self.sha256 | other.sha256, self.groups | other.groups)

    def __bool__(self) -> bool:
        return bool(self.sha256 or self.groups)

    def has_group(self, values: Mapping[str, str], group_by: Sequence[str]) -> bool:
        """Whether a clip with these values belongs to a held-out group, by the current group columns."""
        return bool(group_by) and group(values, group_by) in self.groups

    def to_json(self) -> dict[str, Any]:
        groups = sorted(sorted(group) for group in self.groups)
        return {"sha256": sorted(self.sha256), "groups": [dict(group) for group in groups]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "HeldOut":
        """Read the output of `to_json`. Raises KeyError, TypeError or AttributeError for other content."""
        groups = frozenset(frozenset(group.items()) for group in content["groups"])
        return cls(frozenset(content["sha256"]), groups)


def group(values: Mapping[Any, Any], group_by: Sequence[str]) -> Group:
    """The group of a clip with these values."""
    return frozenset((column, str(values.get(column, ""))) for column in group_by)


@dataclass(frozen=True)
class LastSplit:
    """The test part of the last split, and the contents of the clips of that run."""

    tested: frozenset[str] = frozenset()
    """Ids of the test clips."""
    held_out: HeldOut = HeldOut()
    """Contents, as far as known, and groups of these clips."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of all clips of that run, by id."""

    @property
    def unknown(self) -> frozenset[str]:
        """Ids of test clips whose content was not recorded."""
        return self.tested - self.contents.keys()


def last_split(paths: Paths) -> LastSplit:
    """Read the last split from data/split.parquet and data/manifest.parquet, or their copies in DVC's cache.

    Empty when there was no split yet. Raises UserError when dvc.lock names a split that is not here, and for
    a file that cannot be read.
    """
    split, info = _find_out(paths.split, paths), _find_out(paths.split_info, paths)
    clips = _find_out(paths.manifest, paths) or _find_out(paths.clips, paths)
    if split is None:
        name = paths.split.relative_to(paths.root).as_posix()
        if _locked_md5(paths.split, paths):
            raise UserError(
                f"{paths.split} is missing, so the scan cannot tell which clips must stay in the test part: "
                f"run `dvc checkout {name}` (or `dvc pull {name}`), or delete dvc.lock to go on without."
            )
        return LastSplit()
    parts = _read(split, columns=["id", "part"])
    tested = frozenset(parts.loc[parts["part"] == "test", "id"])
    if clips is None:
        return LastSplit(tested)
    table = _read(clips)
    table = table[table["sha256"] != ""]  # never fetched
    contents = dict(zip(table["id"], table["sha256"], strict=True))
    group_by = json.loads(info.read_text(encoding="utf-8")).get("group_by", []) if info else []
    rows = table[table["id"].isin(tested)]
    known = set(group_by) <= set(table)
    groups = (group(row, group_by) for row in rows.to_dict("records")) if group_by and known else ()
    return LastSplit(tested, HeldOut(frozenset(rows["sha256"]), frozenset(groups)), contents)


def last_split_settings(paths: Paths) -> dict[str, Any] | None:
    """The settings of `split` that the last split had, by dvc.lock; None when it names none."""
    name = paths.split.relative_to(paths.root).as_posix()
    for stage in stages(paths.root / "dvc.lock"):
        if any(out.get("path") == name for out in stage.get("outs", ())):
            settings = stage.get("params", {}).get(paths.params.name, {}).get("split")
            return settings if isinstance(settings, dict) else None
    return None


def _read(file: Path, **how: Any) -> "pd.DataFrame":
    import pandas as pd

    try:
        return pd.read_parquet(file, **how)
    except (OSError, ValueError) as error:  # what pyarrow raises for a damaged file is one of these
        raise UserError(
            f"{file} cannot be read, so the scan cannot tell which clips must stay in the test part: delete "
            "it and run `dvc checkout`."
        ) from error


def _find_out(file: Path, paths: Paths) -> Path | None:
    """`file`, a stage's output, or its copy in DVC's cache; None when neither exists."""
    if file.is_file():
        return file
    md5 = _locked_md5(file, paths)
    copy = dvc_cache(paths.root) / "files/md5" / md5[:2] / md5[2:]
    return copy if md5 and copy.is_file() else None


def _locked_md5(file: Path, paths: Paths) -> str:
    """The MD5 of the output `file` in dvc.lock; "" when it is not listed there."""
    name = file.relative_to(paths.root).as_posix()
    outs = (out for stage in stages(paths.root / "dvc.lock") for out in stage.get("outs", ()))
    return next((str(out["md5"]) for out in outs if out.get("path") == name and "md5" in out), "")
