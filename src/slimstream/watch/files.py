"""Files, and folders that fill, as sources. They are read as `extract` reads clips."""

import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Event as Flag

from slimstream.clips.video import SkippingFailed, VideoReader, open_clip
from slimstream.core.files import atomic_write
from slimstream.core.media import Frame, UnreadableVideo
from slimstream.serving.predict import clips_below
from slimstream.watch.footage import Take, last_place
from slimstream.watch.recording import Recording, Shots

LOOK = 1.0
"""Seconds between two looks into a folder. A file that has not changed from one look to the next is done."""


def file_recording(file: Path) -> Recording:
    """The frames of a video or picture. Its last frame is taken to be of when the file was last written."""
    try:
        with open_clip(file) as clip:
            began = file.stat().st_mtime - clip.info.seconds
    except (OSError, ValueError):
        began = None  # the frames say what is wrong
    footage = _Reread(file)
    return Recording(_shots(file, footage), began, footage)


class _Reread:
    """Footage of a file, which is read a second time: see `Footage`."""

    def __init__(self, file: Path) -> None:
        self._file, self._written = file, _written(file)
        self.shown: deque[tuple[float, int]] = deque()
        """The time of each frame, and its place in the file."""

    def take(self, seconds: Sequence[float]) -> Take | None:
        times = [time for time, _ in self.shown]
        if seconds[0] not in times:
            return None
        for _ in range(last_place(times, seconds[0])):
            self.shown.popleft()
        wanted = frozenset(seconds)
        return partial(self._again, {place: time for time, place in self.shown if time in wanted})

    def _again(self, wanted: dict[int, float]) -> Iterator[tuple[float, Frame]]:
        if _written(self._file) != self._written:
            raise UnreadableVideo(f"{self._file.name} has changed, or is gone")
        yield from _frames(self._file, wanted)


def _written(file: Path) -> tuple[int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _frames(file: Path, wanted: dict[int, float]) -> Iterator[tuple[float, Frame]]:
    """The frames at the places `wanted`, with the times there. Packets that they do not need are left out."""
    done = -1
    for skip in (True, False):
        with open_clip(file) as clip:
            try:
                for index in clip:
                    if index in wanted and index > done:
                        done = index
                        yield wanted[index], clip.picture()
                    if index == max(wanted):
                        return
                    if skip and not index and isinstance(clip, VideoReader):
                        clip.skip_to(wanted)
            except SkippingFailed:
                continue


def _shots(file: Path, footage: _Reread) -> Shots:
    with open_clip(file) as clip:
        first: float | None = None
        for index in clip:
            stamp = index / clip.info.fps if clip.seconds is None and index else clip.seconds or 0.0
            first = stamp if first is None else first
            footage.shown.append((stamp - first, index))
            yield stamp - first, clip.picture


def folder_recordings(folder: Path, progress: Path, stop: Flag) -> Iterator[Recording]:
    """The files below `folder`, the oldest first, and then those that arrive, until `stop`.

    The file `progress` holds the time of the last one that was done; what is not newer is not read again. Of
    files that arrive with an older time one sentence is printed. Raises UserError when the folder cannot be
    read.
    """
    mark = _Progress(progress)
    before: dict[Path, tuple[float, int]] | None = None
    while not stop.is_set():
        now = {file: (stat.st_mtime, stat.st_size) for file, stat in _stats(folder)}
        mark.tell_old([file for file in now if before is not None and file not in before], now)
        ready = sorted((seen[0], file) for file, seen in now.items() if before and before.get(file) == seen)
        for _, file in ready:
            if mark.is_done(file, now[file]):
                continue
            yield file_recording(file)
            mark.done(file, now[file])
        before = now
        stop.wait(LOOK)


class _Progress:
    """How far a folder was read, by the times at which its files were last written."""

    def __init__(self, file: Path) -> None:
        self._file, self._failed, self._told = file, False, False
        self._ahead: set[tuple[Path, float, int]] = set()
        """Files that were done although their time has not come: a clock was wrong."""
        try:
            self._time = float(file.read_text())
        except FileNotFoundError:
            self._time = 0.0
        except (OSError, ValueError) as error:
            self._time = 0.0
            _say(f"{file} cannot be read ({error}), so that its folder is read from the beginning.")

    def is_done(self, file: Path, seen: tuple[float, int]) -> bool:
        return seen[0] <= self._time or (file, *seen) in self._ahead

    def done(self, file: Path, seen: tuple[float, int]) -> None:
        """Note that `file`, of this time and size, was read."""
        if seen[0] > time.time():
            self._ahead.add((file, *seen))
            return
        self._time = max(self._time, seen[0])
        try:
            with atomic_write(self._file) as half:
                half.write_text(repr(self._time))
            self._failed = False
        except OSError as error:  # the disk is full: it goes on, and after a restart reads these again
            if not self._failed:
                _say(f"{self._file} cannot be written: {error.strerror}.")
            self._failed = True

    def tell_old(self, new: Sequence[Path], seen: Mapping[Path, tuple[float, int]]) -> None:
        """Say once that of the `new` files some are too old to be read."""
        old = [file for file in new if seen[file][0] <= self._time]
        if old and not self._told:
            _say(
                f"{old[0].name} has arrived with an older time than files that were read, and is left "
                f"out, as all like it; to read the whole folder again, end watch and delete {self._file}."
            )
            self._told = True


def _say(sentence: str) -> None:
    print(f"watch: {sentence}", file=sys.stderr, flush=True)


def _stats(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for file in clips_below(folder):
        try:
            yield file, file.stat()
        except OSError:  # it has gone
            continue
