"""The manifest: a Parquet table with one row per listed clip, its properties and whether it can be used."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "id": "str",  # safe as a file name, stable per key
    "key": "str",  # the clip's name in its source
    "path": "str",  # below data/ingested; "" when there is no file
    "label": "str",
    "sha256": "str",
    "bytes": "int64",
    "frames": "int64",  # as the header claims
    "fps": "float64",
    "width": "int64",
    "height": "int64",
    "seconds": "float64",
    "codec": "str",
    "interlaced": "bool",  # each frame holds two fields; they are deinterlaced
    "problem": "str",  # "" or why the clip cannot be used
    "held_out": "bool",  # was in a test part before
}
RESERVED = {*COLUMNS, "twin"}
"""Column names that a group column must not use."""


def clip_id(key: str) -> str:
    """Return the ASCII id of the clip `key`: a slug of its stem, then 8 hex digits of the key's SHA-256."""
    stem = unicodedata.normalize("NFKD", PurePosixPath(key).stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")[:48] or "clip"
    return f"{slug}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def write_manifest(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write `rows` sorted by key. Missing COLUMNS are filled with "", 0 or False; group columns are strings.

    The same rows give the same bytes. Raises UserError when two keys have the same id.
    """
    import pandas as pd

    groups = sorted({name for row in rows for name in row} - set(COLUMNS))
    empty: dict[str, Any] = {"str": "", "int64": 0, "float64": 0.0, "bool": False}
    table = pd.DataFrame(
        {
            **{
                name: pd.Series([row.get(name, empty[kind]) for row in rows], dtype=kind)
                for name, kind in COLUMNS.items()
            },
            **{name: pd.Series([row.get(name, "") for row in rows], dtype="str") for name in groups},
        }
    ).sort_values("key", ignore_index=True)
    if table["id"].duplicated().any():
        one, other = table[table["id"].duplicated(keep=False)]["key"].head(2)
        raise UserError(f"{other}: its id is that of {one}; rename one of the two.")
    with atomic_write(path) as half:
        table.to_parquet(half, index=False)


def read_manifest(path: Path) -> "pd.DataFrame":
    """Read a manifest: one row per clip, COLUMNS and group columns. Raises UserError when it is missing."""
    if not path.is_file():
        raise UserError(f"{path} is missing: run the ingest stage first (dvc repro ingest).")
    import pandas as pd

    return pd.read_parquet(path)


def group_columns(table: "pd.DataFrame") -> list[str]:
    """Return the group columns of a manifest or of data/clips.parquet."""
    return [name for name in table.columns if name not in RESERVED]
