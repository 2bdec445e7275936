"""The folder of unfinished work of a search, and the raw clips that are timed."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from slimstream.clips.params import ExtractParams
from slimstream.core.fingerprint import fingerprint
from slimstream.core.paths import Paths
from slimstream.runtimes.split_part import spread_indices
from slimstream.stages.search.candidates import AnyCandidate
from slimstream.stages.search.params import SearchParams


def raw_files(split: pd.DataFrame, count: int, paths: Paths) -> list[Path]:
    """The raw files of `count` clips, evenly spread over those of `split`."""
    ids = split["id"].iloc[spread_indices(len(split), count)]
    of_id = pd.read_parquet(paths.clips, columns=["id", "path"]).set_index("id")["path"]
    return [paths.ingested / str(of_id[name]) for name in ids]


def work_folder(
    candidates: Sequence[AnyCandidate],
    search: SearchParams,
    extract: ExtractParams,
    settings: Sequence[str],
    paths: Paths,
) -> Path:
    """The folder of a search with these candidates, sections and other `settings`, code and data."""
    key = fingerprint(
        "search",
        [
            *(one.title for one in candidates),  # train.model says what an axis without a list is
            search.model_dump_json(),
            extract.model_dump_json(),
            *settings,
        ],
        [paths.split, paths.packs / "index.parquet", paths.clips, paths.root / "requirements.lock"],
    )
    return paths.resume_folder("search", key)
