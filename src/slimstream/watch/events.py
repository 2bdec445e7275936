"""Events: what a change of a camera is told as, and how it reaches every sink."""

import json
import os
import queue
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Protocol

from slimstream.catalog.names import UNKNOWN
from slimstream.watch.clips import Clips
from slimstream.watch.drift.kinds import SAYS
from slimstream.watch.film import Reel
from slimstream.watch.notices import Notices

SHOWN = 100
"""Events that the page can show."""
WAITING = 1000
"""Events that wait for slow sinks at most; newer ones are dropped, and a line says so."""


@dataclass(frozen=True)
class Event:
    """A change of one camera."""

    camera: str
    kind: str
    """`state`: it changed; `gone`: no pictures come any more; `back`: they come again.

    `covered`, `moved`, `light`, `drift`: what it shows differs from before; `as_before`: not any more."""
    time: str
    """When, ISO 8601 in UTC: of the last frame that was looked at."""
    state: str | None = None
    """The state; None before there was one."""
    before: str | None = None
    """The state that it was."""
    probability: float | None = None
    """Of the state, or if that is unknown of the likest class, 0..1, mean over the answers that agreed."""
    unlikeness: float | None = None
    """How unlike the last window is to what was learnt, for a network that tells."""
    version: str = ""
    """Which network said so."""
    clip: str | None = None
    """File name of the clip of the last seconds, which is written a moment later."""
    reason: str = ""
    """Why a camera is gone, or what differs."""

    @property
    def text(self) -> str:
        """The event as a sentence."""
        if self.kind == "gone":
            return f"{self.camera} sends no pictures: {self.reason}."
        if self.kind == "back":
            return f"{self.camera} sends pictures again."
        if self.kind in SAYS:
            return f"{self.camera} {SAYS[self.kind]}{': ' + self.reason if self.reason else ''}."
        before = f" instead of {self.before}" if self.before else ""
        sure = f"{self.probability:.0%}"
        if self.state == UNKNOWN and self.unlikeness is not None:
            sure = f"unlikeness {self.unlikeness:.2f}"
        return f"{self.camera} is {self.state}{before} ({sure}, {self.version})."


def iso(seconds: float) -> str:
    """A time in seconds since 1970, ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class Sink(Protocol):
    """What takes events."""

    name: str

    def send(self, event: Event) -> None:
        """Take an event. Raises OSError or ValueError when it cannot."""

    def close(self) -> None:
        """Send what waits, and end."""


class Outbox:
    """Takes events from all threads and hands them to every sink, on a thread of its own.

    What a sink cannot take is said once in the terminal, until it works again; the other sinks get it.
    """

    def __init__(self, sinks: Sequence[Sink], clips: Clips, notices: Notices) -> None:
        self.recent: deque[Event] = deque(maxlen=SHOWN)
        self.sent = 0
        self._sinks, self._clips, self._notices = sinks, clips, notices
        self._queue: queue.Queue[Event | None] = queue.Queue(WAITING)
        self._thread = Thread(target=self._work, name="events", daemon=True)
        self._thread.start()

    def put(self, event: Event, reel: Reel) -> None:
        """Send an event; `reel` are the pictures of its clip (`Film.reel`), empty for none."""
        event = replace(event, clip=self._clips.put(event.time, event.camera, reel))
        try:
            self._queue.put_nowait(event)
            self._notices.worked("events")
        except queue.Full:
            self._notices.failed("events", f"{WAITING} events wait, so this one is lost: {event.text}")

    def close(self) -> None:
        """Send what waits, write its clips, and end all sinks."""
        self._queue.put(None)
        self._thread.join()
        for sink in self._sinks:
            sink.close()
        self._clips.close()

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            self.recent.append(event)
            self.sent += 1
            for sink in self._sinks:
                try:
                    sink.send(event)
                    self._notices.worked(sink.name)
                except Exception as error:  # whatever it is, the other sinks and the next events go on
                    self._notices.failed(sink.name, f"{sink.name} cannot take an event: {error}")


class Terminal:
    """Prints events."""

    name = "the terminal"

    def send(self, event: Event) -> None:
        print(f"{event.time}  {event.text}", flush=True)

    def close(self) -> None: ...


class JsonLines:
    """Appends events to a file, a line each, that is on the disk when `send` returns."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def send(self, event: Event) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as file:
            if end := file.seek(0, os.SEEK_END):
                file.seek(end - 1)
                if file.read(1) != b"\n":  # the process was killed, or the disk full, within the last line
                    file.write(b"\n")
            file.write(json.dumps(asdict(event)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None: ...
