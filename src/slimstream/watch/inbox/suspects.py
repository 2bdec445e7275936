"""Training clips whose label is probably wrong, as the export found them, and what a person says of them.

What is said goes to corrections.csv in the inbox, which `scan` reads. The source itself is never written.
"""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import RLock

from slimstream.catalog.listing import LABELLED
from slimstream.catalog.manifest import clip_id
from slimstream.clips.video import open_clip
from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.core.media import is_picture
from slimstream.core.paths import Paths
from slimstream.core.simulated import SIMULATED
from slimstream.stages.export.suspects import FILE, Suspect
from slimstream.stages.ingest.labelled import CORRECTIONS, read_corrections
from slimstream.stages.ingest.scan import read_lock
from slimstream.watch.film import Film, write_film

PREVIEWS = 100
"""Converted clips that are kept, so that browsers can play them."""
SHOWN = 60.0
"""Seconds of such a clip at most."""


@dataclass(frozen=True)
class Suspected:
    """A suspect of this checkout's source."""

    suspect: Suspect
    key: str
    """Its path in the source."""
    label: str = ""
    """What a person said; "" while it is open, the given label where that is right."""


class Suspects:
    """The suspects of the network in `export` among the clips of source.lock.json."""

    def __init__(self, paths: Paths, inbox: Path) -> None:
        self._paths, self._file = paths, inbox / CORRECTIONS
        self._previews = inbox / "previews"
        self._lock = RLock()
        self._known: tuple[object, dict[str, tuple[Suspect, str]]] = None, {}

    def items(self, export: Path) -> dict[str, Suspected]:
        """All suspects by id, the surest first; none where there is no source, or a simulated one.

        Raises UserError when corrections.csv cannot be read.
        """
        said = read_corrections(self._file)
        return {
            id: Suspected(suspect, key, said.get(key, ("", ""))[1])
            for id, (suspect, key) in self._of(export).items()
        }

    def decide(self, export: Path, id: str, label: str) -> None:
        """Say that the clip shows `label`; "" takes it back. Raises KeyError, UserError and OSError."""
        with self._lock:
            found = self.items(export)[id]
            said = read_corrections(self._file)
            # The label in the source, which differs from the given one where that was a correction.
            was = said.pop(found.key, (found.suspect.given, ""))[0]
            if label or was != found.suspect.given:
                said[found.key] = was, label
            text = io.StringIO()
            table = csv.writer(text, lineterminator="\n")
            table.writerow(("path", "was", "label"))
            table.writerows([key, was, right] for key, (was, right) in said.items())
            with atomic_write(self._file) as half:
                half.write_text(text.getvalue(), encoding="utf-8")

    def clip(self, export: Path, id: str) -> Path:
        """A file of the clip that browsers show: H.264 of 4 pictures a second, or the picture itself.

        Raises KeyError for what is no suspect, and OSError or ValueError where the clip is not here.
        """
        key = self._of(export)[id][1]
        file = self._paths.ingested / f"{id}{PurePosixPath(key).suffix.lower()}"
        if is_picture(file):
            return file
        preview = self._previews / f"{id}.mp4"
        with self._lock:
            if not preview.exists():
                _convert(file, preview)
            for old in sorted(self._previews.glob("*.mp4"), key=lambda p: p.stat().st_mtime)[:-PREVIEWS]:
                old.unlink()
        return preview

    def _of(self, export: Path) -> dict[str, tuple[Suspect, str]]:
        """Suspects with their keys, read again when one of the files has changed."""
        files = export / FILE, self._paths.source_lock
        seen = [(str(file), file.stat().st_mtime_ns if file.is_file() else 0) for file in files]
        with self._lock:
            if self._known[0] != seen:
                self._known = seen, _read(*files)
            return self._known[1]


def _read(file: Path, lock: Path) -> dict[str, tuple[Suspect, str]]:
    if not (file.is_file() and lock.is_file()):
        return {}
    try:
        suspects = [Suspect(**each) for each in json.loads(file.read_text(encoding="utf-8"))["suspects"]]
        source = read_lock(lock)
    except (ValueError, KeyError, TypeError, OSError, UserError):
        return {}  # of another version, or half a merge: `scan` and the export say what is wrong
    if source.source in SIMULATED:
        return {}
    own = [item for item in source.listing.items if not item.key.startswith(LABELLED)]
    labels = {clip_id(item.key): item for item in own}
    return {
        suspect.id: (suspect, labels[suspect.id].key)
        for suspect in suspects
        if suspect.id in labels and labels[suspect.id].label == suspect.given
    }


def _convert(file: Path, preview: Path) -> None:
    film = Film(SHOWN)
    with open_clip(file) as clip:
        for index in clip:
            seconds = clip.seconds if clip.seconds is not None else index / clip.info.fps
            if seconds > SHOWN:
                break
            if film.due(seconds):
                film.add(clip.picture(), seconds)
    write_film(film.reel(), preview)
