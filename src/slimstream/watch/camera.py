"""One camera: reads its source on a thread of its own, opens it again when it breaks, and keeps its state."""

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event as Flag
from threading import Thread

from slimstream.core.media import Frame
from slimstream.serving.classifier import Answer
from slimstream.watch.events import Event, Outbox, iso
from slimstream.watch.film import Film
from slimstream.watch.footage import Footage
from slimstream.watch.late import Lateness
from slimstream.watch.looks import Look, Observer
from slimstream.watch.model import Model
from slimstream.watch.pending import Pending
from slimstream.watch.recording import Recording
from slimstream.watch.region import cut, cut_all
from slimstream.watch.secrets import shown, without_address
from slimstream.watch.settings import CameraParams, WatchParams
from slimstream.watch.sources import open_source
from slimstream.watch.states import State
from slimstream.watch.turns import Turns
from slimstream.watch.windows import Window, Windows

PAUSES = (1.0, 60.0)
"""Seconds before a broken stream is opened again: at first, and at most. Each is twice the one before."""
STEADY = 10.0
"""Seconds of pictures after which the first pause holds again."""
SEGMENTS = 200
"""Changes of state that the page can draw."""


@dataclass(frozen=True)
class Shared:
    """What all cameras have in common."""

    settings: WatchParams
    folder: Path
    """For notes of which files were read."""
    model: Callable[[], Model]
    """Returns the network in use."""
    pending: Pending
    outbox: Outbox
    observers: Sequence[Observer]
    turns: Turns
    stop: Flag
    """Set when all ends."""


class Camera:
    """A camera and what is known about it. Its attributes are read by other threads; only it writes them."""

    def __init__(self, name: str, camera: CameraParams, shared: Shared) -> None:
        """`camera.source` has no variables any more. Raises UserError for a source that cannot be one."""
        settings = shared.settings
        self.name = name
        self.status = "starting"
        """`starting`, `live`, `gone`, `ended`."""
        self.since = time.time()
        """When the status began, in seconds since 1970."""
        self.reason = ""
        """Why it is gone, or why the last window has no answer."""
        self.film = Film(settings.clip_seconds)
        self._state = State(settings.agree, settings.agree_for)
        self.segments: deque[tuple[float, str]] = deque(maxlen=SEGMENTS)
        """When each state began, in seconds since 1970, and the state; "" while it was gone."""
        self.answer: Answer | None = None
        """The last answer."""
        self.answered_by = ""
        self.latency = 0.0
        """Seconds from the last frame of a window to its answer."""
        self.frames = self.answers = self.dropped = self.failed = self.breaks = 0
        """Frames looked at; windows answered, dropped on a slow machine, without an answer; breaks."""
        self.lateness = Lateness(lambda: shared.turns.has(name))
        self._camera, self._settings, self._stop = camera, settings, shared.stop
        self._model, self._observers = shared.model, shared.observers
        self._pending, self._outbox = shared.pending, shared.outbox
        self._address = camera.source
        self.address = shown(self._address)
        self.region = camera.region
        """The part of the picture that the network sees."""
        self._source = open_source(
            self._address, shared.folder / f"{name}.progress", self.lateness, settings.inbox.per_day > 0
        )
        self._windows = [Windows(shared.model(), settings.hop)]  # two while a new network takes over
        self._last = 0.0, 0.0  # when the last frame was taken, and when it came in: see `Window`
        self.thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self.thread.start()

    @property
    def state(self) -> str | None:
        """Its state, None before the first answers agree."""
        return self._state.state

    @property
    def ended(self) -> bool:
        """Whether its source has come to its end, which a live one never does."""
        return self.status == "ended"

    @property
    def behind(self) -> bool:
        """Whether the machine is too slow for it, so that frames are left out."""
        return self.lateness.behind

    @property
    def in_turn(self) -> bool:
        """Whether it is looked at now; on a machine that is too slow cameras take turns."""
        return self.lateness.in_turn()

    @property
    def fps(self) -> float:
        """Frames a second that are looked at."""
        return self._windows[0].fps

    def _run(self) -> None:
        pause, longest = PAUSES
        while not self._stop.is_set():
            reason, broken = "the stream ended", False
            try:
                for recording in self._source.recordings(self._stop):
                    self._play(recording)
            except Exception as error:  # whatever it is, other cameras and the next try go on
                reason, broken = self._plain(error), True
            if broken and not (self._source.live or self._source.fills):
                self._fail(reason)
            if not (self._source.live or (broken and self._source.fills)):
                break
            if self.status == "live" and time.time() - self.since > STEADY:
                pause = PAUSES[0]
            self._gone(reason)
            self._stop.wait(pause)
            pause = min(longest, 2 * pause)
        self._pending.until_idle(self.name, self._stop)
        self._set("ended", self.reason)

    def _play(self, recording: Recording) -> None:
        """Look at the frames of a recording. One that breaks raises an error if it is live, else says so."""
        for windows in self._windows:
            windows.clear()
        try:
            asked = self._look(recording)
        except Exception as error:
            if self._source.live:
                raise
            self._fail(self._plain(error))
            return
        if not self._source.live and not asked:  # shorter than a window: it is a clip as a whole
            self._ask(recording.footage)

    def _look(self, recording: Recording) -> bool:
        """Look at all frames. Returns whether a window was asked."""
        asked, wanted = False, float("-inf")
        for seconds, picture in recording.shots:
            if self._stop.is_set():
                return asked
            if self._camera.fps is not None:
                if 0 < wanted - seconds - 1e-3 < STEADY:  # more: the clock was set back
                    continue
                wanted = max(wanted + 1 / self._camera.fps, seconds)
            now = time.time() if recording.began is None else recording.began + seconds
            self._take(picture(), seconds, now)
            if self._windows[0].due():
                asked = True
                self._ask(recording.footage)
        return asked

    def _take(self, picture: Frame, seconds: float, now: float) -> None:
        """Take in a frame of the time `now`; `seconds` are those of its recording."""
        if self.status != "live":
            if self.status == "gone":
                self._tell(Event(self.name, "back", iso(now)))
                self.segments.append((now, self.state or ""))
            self._set("live")
        self.frames += 1
        self._last = now, time.monotonic()
        if self.film.due(now):
            self.film.add(picture, now)
        if (model := self._model()) is not self._windows[-1].model:
            self._windows = [self._windows[0], Windows(model, self._settings.hop, self._windows[0])]
        seen = cut(picture, self.region)
        for windows in self._windows:
            windows.add(seen, seconds)
        if self._windows[-1].full:  # before, the former network goes on
            self._windows = self._windows[-1:]

    def _ask(self, footage: Footage | None) -> None:
        window = self._windows[0].window(*self._last)
        if window is None:
            return
        if footage and (take := footage.take(window.seconds)):
            window = replace(window, originals=partial(cut_all, take, self.region))
        if not self._source.live:
            self._pending.until_idle(self.name, self._stop)
        self.dropped += self._pending.put(self.name, window, self._judge)

    def _judge(self, window: Window) -> None:
        """Ask the network, and tell a change of state. Called by a thread that answers."""
        try:
            answer, features = window.answer()
        except Exception as error:  # each runtime has exceptions of its own
            self.failed += 1
            self.reason = self._plain(error)
            return
        probability = max(p for name, p in answer.items() if name.startswith("p_"))
        self.answer, self.answered_by = answer, window.model.name
        self.latency = time.monotonic() - window.came
        self.answers += 1
        if self.status == "live":
            self.reason = ""
        for observe in self._observers:
            observe(Look(self.name, window, answer, features, self.film.reel, self.state))
        change = self._state.see(answer["label"], probability)
        if change is not None:
            self.segments.append((window.time, change.state))
            self._tell(
                Event(
                    self.name,
                    "state",
                    iso(window.time),
                    change.state,
                    change.before,
                    change.probability,
                    answer.get("unlikeness"),
                    window.model.name,
                )
            )

    def _fail(self, reason: str) -> None:
        """Say that something of the source has no answer."""
        self.failed += 1
        self.reason = reason
        print(f"watch: {self.name}: {reason}", file=sys.stderr, flush=True)

    def _tell(self, event: Event) -> None:
        self._outbox.put(event, self.film.reel())

    def _gone(self, reason: str) -> None:
        if self._stop.is_set():
            return
        if self.status != "gone":
            self.breaks += 1
            self._state.forget()
            self.segments.append((time.time(), ""))
            self._outbox.put(Event(self.name, "gone", iso(time.time()), reason=reason), self.film.reel())
            self._set("gone", reason)
        self.reason = reason

    def _set(self, status: str, reason: str = "") -> None:
        self.status, self.since, self.reason = status, time.time(), reason

    def _plain(self, error: Exception) -> str:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return without_address(said, self._address).removesuffix(".")
