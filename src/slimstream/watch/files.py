"""Files, and folders that fill, as sources. They are read as `extract` reads clips."""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event as Flag

from slimstream.clips.video import open_clip
from slimstream.core.files import atomic_write
from slimstream.serving.predict import clips_below
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
    return Recording(_shots(file), began)


def _shots(file: Path) -> Shots:
    with open_clip(file) as clip:
        first: float | None = None
        for index in clip:
            stamp = index / clip.info.fps if clip.seconds is None and index else clip.seconds or 0.0
            first = stamp if first is None else first
            yield stamp - first, clip.picture


def folder_recordings(folder: Path, progress: Path, stop: Flag) -> Iterator[Recording]:
    """The files below `folder`, the oldest first, and then those that arrive, until `stop`.

    The file `progress` holds the time of the last one that was done; what is not newer is not read again.
    """
    before: dict[Path, tuple[float, int]] = {}
    while not stop.is_set():
        done = float(progress.read_text()) if progress.exists() else 0.0
        now = {file: (stat.st_mtime, stat.st_size) for file, stat in _stats(folder) if stat.st_mtime > done}
        ready = sorted((seen[0], file) for file, seen in now.items() if before.get(file) == seen)
        for changed, file in ready:
            yield file_recording(file)
            with atomic_write(progress) as half:
                half.write_text(repr(changed))
        before = now
        stop.wait(LOOK)


def _stats(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for file in clips_below(folder):
        try:
            yield file, file.stat()
        except OSError:  # it has gone
            continue
