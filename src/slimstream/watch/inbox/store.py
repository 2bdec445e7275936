"""The folder of the inbox: a JSON file and a clip for each window, and a metadata.csv of the labelled ones.

The clip is written first: a window is there when its JSON file is. All files are written under another name
and then renamed, so a killed process leaves no half window.
"""

import csv
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from threading import RLock

from slimstream.core.files import atomic_write
from slimstream.watch.inbox.item import ID, Item, read_item

METADATA = "metadata.csv"
COLUMNS = ("path", "label", "camera", "day", "time")


class Store:
    """The windows in `folder`. Threads may share it; another process may read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = RLock()
        """Held while a decision is made on what `items` gave."""
        self._read: dict[str, tuple[int, Item | None]] = {}

    def items(self) -> dict[str, Item]:
        """All windows by id, the oldest first. A file that is not ours, or damaged, is left out."""
        with self.lock:
            found = {}
            for file in sorted(self.folder.glob("*.json")):
                if not re.fullmatch(ID, file.stem):
                    continue
                try:
                    changed = file.stat().st_mtime_ns
                    if self._read.get(file.stem, (0, None))[0] != changed:
                        self._read[file.stem] = changed, _read(file)
                except OSError:  # another process has removed it
                    continue
                if (item := self._read[file.stem][1]) is not None:
                    found[item.id] = item
            self._read = {name: seen for name, seen in self._read.items() if name in found or not seen[1]}
            return found

    def add(self, item: Item, write_clip: Callable[[Path], None]) -> None:
        """Keep a window, whose clip `write_clip` writes. Raises what that raises, and OSError."""
        clip = self.folder / item.clip
        write_clip(clip)
        try:
            self._write(f"{item.id}.json", item.to_json())
        except OSError:
            clip.unlink(missing_ok=True)
            raise

    def change(self, item: Item) -> None:
        """Write a window that was decided on, and then the table of labelled ones. Raises OSError."""
        with self.lock:
            self._write(f"{item.id}.json", item.to_json())
            self.write_table()

    def remove(self, item: Item) -> None:
        """Delete a window. Raises OSError."""
        (self.folder / f"{item.id}.json").unlink(missing_ok=True)
        (self.folder / item.clip).unlink(missing_ok=True)

    def size(self, item: Item) -> int:
        """Bytes of its clip."""
        try:
            return (self.folder / item.clip).stat().st_size
        except OSError:
            return 0

    def clean(self) -> None:
        """Mend what a killed process left: half files, clips without their JSON file, an old table."""
        with self.lock:
            ours = set(self.items())
            for file in self.folder.glob("*"):
                half = file.name.startswith("temporary-")
                lone = re.fullmatch(rf"{ID}\.(mp4|png)", file.name) and file.stem not in ours
                if half or (lone and not file.with_suffix(".json").exists()):
                    file.unlink(missing_ok=True)
            self.write_table()

    def write_table(self) -> None:
        """Write metadata.csv anew, if it is not what the windows say. Raises OSError."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        labelled = [item for item in self.items().values() if item.label]
        table.writerows([item.clip, item.label, item.camera, item.day, item.time] for item in labelled)
        file = self.folder / METADATA
        old = file.read_text(encoding="utf-8") if file.is_file() else ""
        if text.getvalue() != old and (labelled or old):
            self._write(METADATA, text.getvalue())

    def _write(self, name: str, text: str) -> None:
        with atomic_write(self.folder / name) as half, half.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._read.pop(name.removesuffix(".json"), None)  # the clock of the disk may be too coarse


def _read(file: Path) -> Item | None:
    try:
        return read_item(file.read_text(encoding="utf-8"), file.stem)
    except ValueError:
        return None
