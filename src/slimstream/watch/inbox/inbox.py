"""The inbox at work: takes doubtful windows from the threads that answer, and keeps some on the disk."""

import queue
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Thread

from slimstream.watch.events import iso
from slimstream.watch.inbox.clip import write_clip
from slimstream.watch.inbox.doubt import Doubtful, Doubts, probabilities
from slimstream.watch.inbox.item import Item, item_id
from slimstream.watch.inbox.keep import leaving, surplus
from slimstream.watch.inbox.store import Store
from slimstream.watch.looks import Look
from slimstream.watch.notices import Notices
from slimstream.watch.settings import InboxParams

APART = 5.0
"""Seconds between two windows of a camera that are kept, at least; and windows never overlap."""
WAITING = 8
"""Windows that wait to be written at most; a megabyte or so each, of a camera without packets some more."""
DISMISSED = timedelta(days=1)
"""How long a dismissed window can be had back."""
DIGITS = 4
"""Significant digits of a place."""


class Inbox:
    """Keeps doubtful windows in `folder`. Its `observe` is an `Observer`."""

    def __init__(self, folder: Path, settings: InboxParams, notices: Notices) -> None:
        self.store = Store(folder)
        self._settings, self._notices = settings, notices
        self._doubts = Doubts(settings.margin)
        self._last: dict[str, float] = {}
        self._queue: queue.Queue[Doubtful | None] = queue.Queue(WAITING)
        self._try(self.store.clean)
        self._thread = Thread(target=self._work, name="inbox", daemon=True)
        self._thread.start()

    def observe(self, look: Look) -> None:
        """Take a window; it is written by another thread, if it is doubtful."""
        for found in self._doubts.see(look):
            self._put(found)

    def close(self) -> None:
        """Write what waits."""
        for found in self._doubts.rest():
            self._put(found)
        self._queue.put(None)
        self._thread.join()

    def _put(self, found: Doubtful) -> None:
        look = found.look
        apart = max(APART, look.window.model.seconds)
        if not look.window.originals or abs(look.window.time - self._last.get(look.camera, -apart)) < apart:
            return
        self._last[look.camera] = look.window.time
        try:
            self._queue.put_nowait(found)
        except queue.Full:
            self._notices.failed("inbox", f"{WAITING} windows wait for the inbox, so that one is not kept.")

    def _work(self) -> None:
        while (found := self._queue.get()) is not None:
            self._try(partial(self.keep, found))

    def _try(self, do: Callable[[], None]) -> None:
        try:
            do()
            self._notices.worked("inbox")
        except Exception as error:  # an encoder, too, has errors of its own
            self._notices.failed("inbox", f"the inbox cannot keep a window: {error}")

    def keep(self, found: Doubtful) -> None:
        """Write a window if it is to be kept; others make room. Raises OSError or an error of FFmpeg."""
        new, frames = _item(found), found.look.window.originals
        with self.store.lock:
            items = self.store.items()
            if new.id in items:  # the recording was watched before, and a person may have decided
                return
            alike = [i for i in items.values() if (i.camera, i.day) == (new.camera, new.day)]
            leaves = leaving(alike, new, self._settings.per_day)
        if frames and leaves is not new:
            self.store.add(new, lambda path: write_clip(frames(), path))
            self._make_room(leaves)

    def _make_room(self, leaves: Item | None) -> None:
        with self.store.lock:
            items = self.store.items()
            if leaves is not None and items.get(leaves.id) == leaves:  # nobody has labelled it meanwhile
                self.store.remove(items.pop(leaves.id))
            before = iso((datetime.now(UTC) - DISMISSED).timestamp())
            old = [item for item in items.values() if item.dismissed and item.decided < before]
            left = [item for item in items.values() if item not in old]
            sizes = [self.store.size(item) for item in left]
            bytes_ = 1e9 * self._settings.gigabytes
            for item in [*old, *surplus(left, sizes, self._settings.most, bytes_)]:
                self.store.remove(item)


def _item(found: Doubtful) -> Item:
    look, answer = found.look, found.look.answer
    model, time = look.window.model, iso(look.window.time)
    return Item(
        id=item_id(time, look.camera),
        suffix=".mp4" if model.seconds else ".png",
        camera=look.camera,
        time=time,
        why=found.why,
        usefulness=float(found.usefulness),
        answer=answer["label"],
        state=look.state,
        probabilities=probabilities(answer),
        unlikeness=answer.get("unlikeness"),
        version=model.name,
        place=tuple(float(f"{x:.{DIGITS}g}") for x in model.classifier.place(look.features)),
    )
