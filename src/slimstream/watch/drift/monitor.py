"""Watches one camera for drift: learns its first day, judges it every ten minutes and every day."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from slimstream.runtimes.seen import NETWORK
from slimstream.watch.drift.blocks import NAMES, Block, Blocks, Measured
from slimstream.watch.drift.days import Day, judge_day
from slimstream.watch.drift.judge import GROUP, LOOKS, Difference, Values, differences, kind
from slimstream.watch.drift.kinds import KINDS, OVER
from slimstream.watch.drift.known import (
    ALL,
    BY_NETWORK,
    BY_PICTURE,
    DAY,
    FIRST,
    Known,
    read_known,
    usual_state,
)
from slimstream.watch.drift.scene import alikeness, median_scene
from slimstream.watch.events import Event, iso
from slimstream.watch.model import Model

EVERY = 5
"""Blocks, ten minutes, from one look to the next."""
ENOUGH = 7
"""Blocks of the same state, out of the last GROUP, by which the answers of the network are judged."""
SAVE = 30
"""Blocks, an hour, after which what is known is written; events are written at once."""
AGAIN = 24 * 3600.0
"""Seconds after which a disturbance that lasts is told again."""
QUIET = 6
"""Looks in a row, an hour, without a difference that end a disturbance."""


class Monitor:
    """One camera. It is called by one thread at a time."""

    def __init__(self, camera: str, file: Path, daily: Callable[[Day], None]) -> None:
        """`file` keeps what is known; `daily` takes the summary of each day. A bad file is a `problem`."""
        self.camera = camera
        self.notice = ""
        """A sentence while the camera is disturbed."""
        self.problem = ""
        """Why the file cannot be used; "" when all is well."""
        self._file, self._daily = file, daily
        self._blocks = Blocks()
        self._first: list[Block] = []
        self._recent: deque[Block] = deque(maxlen=GROUP)
        self._since_look = self._since_save = self._quiet = 0
        self._known: Known | None = None
        self._kept = file.exists()
        if self._kept:
            try:
                self._known = read_known(file)
                if self.disturbed:
                    self.notice = Event(camera, self.disturbed, "").text
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.problem = f"{file} cannot be read ({error}): delete it, and the camera is learnt anew."

    @property
    def disturbed(self) -> str:
        """One of KINDS while the camera is disturbed, else ""."""
        return self._known.disturbed if self._known is not None else ""

    def see(self, time: float, measured: Measured, model: Model) -> list[Event]:
        """Take a window of the time in seconds since 1970, answered by `model`; returns what is to be told.

        Raises OSError when the file cannot be written; what was seen is not lost by it.
        """
        if self.problem:
            return []
        block = self._blocks.add(time, measured)
        return [] if block is None else self._take(block, model)

    def _take(self, block: Block, model: Model) -> list[Event]:
        if self._kept and not self._file.exists():  # the operator has deleted it
            self._forget()
        known = self._known
        if known is None or known.size != model.size:
            self._forget()
            known = self._known = Known(model.name, model.size)
        if known.model != model.name:  # answers and features of two networks cannot be compared
            known.model, known.answers = model.name, type(known.answers)()
            self._recent.clear()
        events = self._end_of_day(block, known, model)
        if known.scene is None:
            self._first.append(block)
            if len(self._first) == FIRST:
                self._begin(known)
        else:
            block.values[-2:] = alikeness(block.scene, known.scene)
            known.day.add(block)
            events += self._judge(block, known)
        self._since_save += 1
        if events or (known.scene is not None and self._since_save >= SAVE):
            self._save(known)
        return events

    def _begin(self, known: Known) -> None:
        """The first hour is there: it says what stands still."""
        known.scene = median_scene([block.scene for block in self._first])
        for block in self._first:
            block.values[-2:] = alikeness(block.scene, known.scene)
            for sample in (known.pictures, known.answers, known.day):
                sample.add(block)
        self._first.clear()

    def _judge(self, block: Block, known: Known) -> list[Event]:
        if len(self._recent) == GROUP and not known.disturbed:
            oldest = self._recent[0]
            for sample in (known.pictures, known.answers):
                if len(sample) < DAY:
                    sample.add(oldest)
        self._recent.append(block)
        self._since_look = (self._since_look + 1) % EVERY
        if len(self._recent) < GROUP or self._since_look:
            return []
        found = self._differences(known)
        if not found:
            self._quiet += 1
            if not known.disturbed or self._quiet < QUIET:
                return []
            known.disturbed = self.notice = ""
            return [Event(self.camera, OVER, iso(block.began))]
        self._quiet = 0
        now, before = self._medians(known)
        told = kind(found, now, before)
        assert told is not None
        reason = ", ".join(d.text for d in sorted(found.values(), key=lambda d: d.p)[:3])
        worse = not known.disturbed or KINDS.index(told) < KINDS.index(known.disturbed)
        if not worse and block.began - known.told < AGAIN:
            return []
        known.disturbed = told if worse else known.disturbed
        known.told = block.began
        event = Event(self.camera, known.disturbed, iso(block.began), version=known.model, reason=reason)
        self.notice = event.text
        return [event]

    def _differences(self, known: Known) -> dict[str, Difference]:
        state = usual_state(self._recent)
        found: list[Difference] = []
        pictures = known.pictures.of(state)
        if len(pictures) < FIRST:
            pictures = known.pictures
        looks = LOOKS * len(NAMES)
        now = np.array([block.values for block in self._recent])
        names = [NAMES[i] for i in BY_PICTURE]
        found += differences(now[:, BY_PICTURE], pictures.table(BY_PICTURE), names, looks / len(names))
        answers = known.answers.of(state)
        same = np.array([block.state == state for block in self._recent])
        if len(answers) >= FIRST and same.sum() >= ENOUGH:
            names = [NAMES[i] for i in BY_NETWORK]
            found += differences(
                now[same][:, BY_NETWORK], answers.table(BY_NETWORK), names, looks / len(names)
            )
        return {difference.name: difference for difference in found}

    def _medians(self, known: Known) -> tuple[Values, Values]:
        now = np.median([block.values for block in self._recent], axis=0)
        return now, np.median(known.pictures.table(ALL), axis=0)

    def _end_of_day(self, block: Block, known: Known, model: Model) -> list[Event]:
        date = datetime.fromtimestamp(block.began, UTC).date().isoformat()
        if date == known.date:
            return []
        seen, classes = model.classifier.seen, model.classifier.classes
        day = judge_day(self.camera, known, seen, classes) if known.date else None
        known.date, known.day = date, type(known.day)()
        if day is None:
            return []
        self._daily(day)
        said = {
            "its first day": [d.text for d in day.unlike_first_day],
            # A new camera may be brighter than all that were learnt from; it matters if the network sees it.
            "what was learnt": [
                f"{d.text} where it is {s}"
                for s, several in day.unlike_learnt.items()
                for d in several
                if d.name in NETWORK
            ],
        }
        before, known.unlike = known.unlike, [name for name, texts in said.items() if texts]
        return [
            Event(
                *(self.camera, "drift", iso(block.began)),
                version=known.model,
                reason=f"on {day.day} it was unlike {name}: {', '.join(said[name][:3])}",
            )
            for name in known.unlike
            if name not in before and not known.disturbed
        ]

    def _forget(self) -> None:
        self._known = None
        self._kept = False
        self._first.clear()
        self._recent.clear()
        self._since_look = self._quiet = 0
        self.notice = ""

    def _save(self, known: Known) -> None:
        known.save(self._file)
        self._kept, self._since_save = True, 0
