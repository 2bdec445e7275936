"""Clips of events as files, written on a thread of its own, so that no event waits for one."""

import queue
from pathlib import Path
from threading import Thread

from slimstream.watch.film import Reel, write_film
from slimstream.watch.notices import Notices

WAITING = 20
"""Clips that wait to be written at most; a megabyte or so each."""
NAMES = "????-??-??T??????.???-*.mp4"
"""Names of clips, which begin with the time of their event."""


class Clips:
    """The newest `most` clips in `folder`; older ones are deleted, other files are not."""

    def __init__(self, folder: Path, most: int, notices: Notices) -> None:
        self.folder, self._most, self._notices = folder, most, notices
        self._queue: queue.Queue[tuple[Path, Reel] | None] = queue.Queue(WAITING)
        self._thread = Thread(target=self._work, name="clips", daemon=True)
        self._thread.start()

    def put(self, time: str, camera: str, reel: Reel) -> str | None:
        """Let a clip be written; returns its file name, None when there will be none.

        `time` (ISO 8601) and `camera` are those of the event, `reel` the pictures of `Film.reel`.
        """
        if not reel or not self._most:
            return None
        name = f"{time[:23].replace(':', '')}-{camera}.mp4"
        try:
            self._queue.put_nowait((self.folder / name, reel))
        except queue.Full:
            self._notices.failed("clips", f"{WAITING} clips wait to be written, so that of an event is not.")
            return None
        return name

    def close(self) -> None:
        """Write what waits."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            path, reel = item
            try:
                write_film(reel, path)
                for old in sorted(self.folder.glob(NAMES))[: -self._most]:
                    old.unlink()
                self._notices.worked("clips")
            except Exception as error:  # an encoder, too, has errors of its own
                self._notices.failed("clips", f"the clip of an event cannot be written: {error}")
