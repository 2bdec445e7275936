"""Which files of a folder were read, noted on disk, so that none is read again after a restart."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from slimstream.core.files import atomic_write

Written = tuple[int, int]
"""When a file was last written, in nanoseconds since 1970, and its bytes."""
SLACK = 1000
"""Names that may be kept of files that are gone."""


class ReadFiles:
    """The files of a folder that were read, as they were then. A file that has changed since is a new one.

    `note` holds a line of JSON for each: name, time, bytes. The time does not decide, because files are often
    copied with the time that they had, and clocks of cameras go wrong.
    """

    def __init__(self, note: Path) -> None:
        self._note, self._failed = note, False
        self._read: dict[str, Written] = {}
        try:
            lines = note.read_bytes().splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            lines = []
            _say(f"{note} cannot be read ({error.strerror}), so that its folder is read from the beginning.")
        for line in lines:
            try:
                name, time, size = json.loads(line)
                self._read[str(name)] = int(time), int(size)
            except (ValueError, TypeError):  # the last line of a process that was killed
                _say(f"a line of {note} cannot be read, so that a file may be read again.")
        self._whole = not lines  # a half line must not become the beginning of the next one

    def holds(self, name: str, seen: Written) -> bool:
        """Whether the file `name` was read as it is `seen` now."""
        return self._read.get(name) == seen

    def add(self, name: str, seen: Written) -> None:
        """Note that the file was read."""
        self._read[name] = seen
        try:
            if self._whole:
                self._note.parent.mkdir(parents=True, exist_ok=True)
                with self._note.open("ab") as file:
                    file.write(_line(name, seen))
            else:
                self._write()
            self._whole, self._failed = True, False
        except OSError as error:  # the disk is full: it goes on, and writes all when there is room
            self._whole = False
            if not self._failed:
                _say(f"{self._note} cannot be written: {error.strerror}.")
            self._failed = True

    def forget_missing(self, there: Mapping[str, Written]) -> None:
        """Forget files that are not `there` any more, when they are many.

        None is forgotten while no known one is there: a drive that is not mounted is an empty folder.
        """
        if len(self._read) <= 2 * len(there) + SLACK:
            return
        if left := {name: seen for name, seen in self._read.items() if name in there}:
            self._read, self._whole = left, False

    def _write(self) -> None:
        with atomic_write(self._note) as half, half.open("wb") as file:
            file.writelines(_line(name, seen) for name, seen in self._read.items())


def _line(name: str, seen: Written) -> bytes:
    return json.dumps([name, *seen]).encode() + b"\n"


def _say(sentence: str) -> None:
    print(f"watch: {sentence}", file=sys.stderr, flush=True)
