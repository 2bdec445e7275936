"""Files, and folders that fill, as sources. They are read as `extract` reads clips."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Event as Flag

from slimstream.clips.video import SkippingFailed, VideoReader, open_clip
from slimstream.core.media import Frame, UnreadableVideo
from slimstream.serving.predict import clips_below
from slimstream.watch.footage import Take, last_place
from slimstream.watch.read_files import ReadFiles, Written
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


def _written(file: Path) -> Written | None:
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


def folder_recordings(folder: Path, note: Path, stop: Flag) -> Iterator[Recording]:
    """The files below `folder`, the oldest first, and then those that arrive, until `stop`.

    `note` is the file of `ReadFiles`: those that it holds are not read again. Raises UserError when the
    folder cannot be read.
    """
    read = ReadFiles(note)
    before: dict[str, Written] = {}
    while not stop.is_set():
        now = dict(_files(folder))
        whole = [(seen, name) for name, seen in now.items() if before.get(name) == seen]
        for seen, name in sorted(each for each in whole if not read.holds(each[1], each[0])):
            yield file_recording(folder / name)
            read.add(name, seen)
        read.forget_missing(now)
        before = now
        stop.wait(LOOK)


def _files(folder: Path) -> Iterator[tuple[str, Written]]:
    """Names of the files below `folder`, with / between its folders, and when they were written."""
    for file in clips_below(folder):
        if seen := _written(file):  # else it has gone
            yield str(file).removeprefix(f"{folder}{os.sep}"), seen
