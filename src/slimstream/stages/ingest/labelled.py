"""Clips that were labelled in the inbox of `watch`, which join the source, and labels corrected there.

The inbox is a folder with a metadata.csv, and with a corrections.csv where labels of the source were
corrected. Neither the source nor its tables are ever written.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from slimstream.catalog.listing import LABELLED, METADATA, FileStat, Item, Listing
from slimstream.catalog.metadata import read_metadata
from slimstream.catalog.names import normal_form
from slimstream.catalog.part_names import part_named
from slimstream.core.errors import UserError
from slimstream.core.media import is_picture
from slimstream.core.paths import Paths
from slimstream.core.simulated import SIMULATED
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.sources import FolderSource, Source, open_source

CORRECTIONS = "corrections.csv"
"""Columns `path`, a key in the source, `was`, its label there, and `label`, the right one."""
CAMERA, DAY, TRAIN = "camera", "day", "train"


class WithLabelled:
    """The source `source` and the labelled clips of the folder `inbox` as one source."""

    def __init__(self, source: Source, uri: str, inbox: FolderSource, group_by: Sequence[str] = ()) -> None:
        """`uri` is the address of `source`, `group_by` is split.group_by, which only `list` needs."""
        self.name, self.workers = source.name, source.workers
        self._source, self._uri, self._inbox, self._group_by = source, uri, inbox, group_by

    def join(self, own: Listing) -> Listing:
        """`own`, the listing of the source, corrected and with the labelled clips.

        Raises UserError when the tables of the inbox cannot be read.
        """
        if self._uri not in SIMULATED:  # these have no wrong labels
            own = _corrected(own, read_corrections(self._inbox.folder / CORRECTIONS))
        table = self._inbox.folder / METADATA
        if not table.is_file() or not read_metadata(table.read_bytes(), str(table))[1]:
            return own
        more = self._inbox.list(whole=False)
        pictures = any(is_picture(item.key) for item in own.items)
        kind = f"no {'picture' if pictures else 'video'}, as the clips of the source are"
        fits = {item.key: is_picture(item.key) == pictures for item in more.items}
        items = [self._grouped(item, own) for item in more.items if fits[item.key]]
        rejected = {**more.rejected, **{key: kind for key, right in fits.items() if not right}}
        return replace(
            own,
            items=sorted([*own.items, *items], key=lambda item: item.key),
            rejected=dict(
                sorted((own.rejected | {LABELLED + k: why for k, why in rejected.items()}).items())
            ),
        )

    def list(self) -> Listing:
        """See `Source.list`."""
        return self.join(self._source.list())

    def outdated(self, listing: Listing) -> bool:
        """See `Source.outdated`."""
        own = [item for item in listing.items if not item.key.startswith(LABELLED)]
        kept = {key: why for key, why in listing.rejected.items() if not key.startswith(LABELLED)}
        return self._source.outdated(replace(listing, items=own, rejected=kept))

    def fetch(self, key: str, stat: FileStat, target: Path) -> None:
        """See `Source.fetch`."""
        if key.startswith(LABELLED):
            self._inbox.fetch(key.removeprefix(LABELLED), stat, target)
        else:
            self._source.fetch(key, stat, target)

    def _grouped(self, item: Item, own: Listing) -> Item:
        """A labelled clip with the columns of the source, which has no others.

        A column that the inbox has not is the camera with the day if clips are grouped by it: like a
        recording, a day of a camera has a beginning and an end. With the camera alone all that it ever shows
        would be one group, and nothing of it learnt from once that was in the test part. A column that names
        parts of a split says train. Any other has a value for each clip.
        """
        columns = sorted({column for each in own.items for column in each.groups})
        values = {column: item.groups.get(column, "") for column in columns}
        for column in (column for column, value in values.items() if not value):
            if all(part_named(each.groups.get(column, "")) for each in own.items):
                values[column] = TRAIN
            elif column in self._group_by:
                values[column] = " ".join(item.groups.get(name, "") for name in (CAMERA, DAY)).strip()
            else:
                values[column] = PurePosixPath(item.key).stem
        return replace(item, key=LABELLED + item.key, groups=values)


def with_labelled(
    source: Source, uri: str, ingest: IngestParams, paths: Paths, group_by: Sequence[str] = ()
) -> Source:
    """`source`, whose address is `uri`, with the clips of `ingest.labelled` if that folder is there.

    Raises UserError when it is a folder of the project itself.
    """
    if ingest.labelled is None:
        return source
    inbox = open_source(ingest, ingest.labelled, paths)
    if not isinstance(inbox, FolderSource):
        raise UserError(f"params.yaml: ingest.labelled is {ingest.labelled}, and only a folder can be.")
    return WithLabelled(source, uri, inbox, group_by) if inbox.folder.is_dir() else source


def read_corrections(file: Path) -> dict[str, tuple[str, str]]:
    """Key of a clip → its label in the source and the right one, "" where that is open.

    Empty without the file. It may have been saved by a spreadsheet. Raises UserError when it cannot be read.
    """
    if not file.is_file() or not (content := file.read_bytes()).strip():
        return {}
    header, lines = read_metadata(content, str(file))
    if "was" not in header:
        raise UserError(f"{file} is no table of path, was and label: mend it, or delete it.")
    rows = (dict(zip(header, cells, strict=False)) for _, cells in lines)
    return {row["path"]: (row.get("was", ""), row.get("label", "")) for row in rows if row.get("path")}


def _corrected(own: Listing, corrections: dict[str, tuple[str, str]]) -> Listing:
    """`own` with the right labels of clips that still have the wrong one."""

    def right(item: Item) -> Item:
        was, label = corrections.get(item.key, ("", ""))
        return replace(item, label=normal_form(label)) if label and item.label == was else item

    return replace(own, items=[right(item) for item in own.items])
