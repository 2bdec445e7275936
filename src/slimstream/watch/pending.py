"""Windows between cameras and answers: at most one of a camera waits, so a slow machine fills no memory."""

from collections.abc import Callable
from threading import Condition
from threading import Event as Flag

from slimstream.watch.windows import Window

Done = Callable[[Window], None]
"""Called with a window by the thread that answers it."""


class Pending:
    """Windows that wait, by camera. The one that has waited longest is answered first."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: dict[str, tuple[Window, Done]] = {}
        self._busy: set[str] = set()

    def put(self, camera: str, window: Window, done: Done) -> bool:
        """Let `window` wait. Returns whether it took the place of an older one, which is dropped."""
        with self._changed:
            dropped = camera in self._waiting
            # In the place of the older one: a camera whose windows are dropped does not wait longer for it.
            self._waiting[camera] = window, done
            self._changed.notify_all()
        return dropped

    def until_idle(self, camera: str, stop: Flag) -> None:
        """Wait until no window of `camera` waits or is being answered, or until `stop`."""
        with self._changed:
            while not stop.is_set() and (camera in self._waiting or camera in self._busy):
                self._changed.wait(0.2)

    def answer_all(self, stop: Flag) -> None:
        """Answer windows, one after another, until `stop`. Threads may share the work.

        Those of one camera are answered in order, never two at once.
        """
        while not stop.is_set():
            with self._changed:
                camera = next((name for name in self._waiting if name not in self._busy), None)
                if camera is None:
                    self._changed.wait(0.2)
                    continue
                window, done = self._waiting.pop(camera)
                self._busy.add(camera)
            try:
                done(window)
            finally:
                with self._changed:
                    self._busy.discard(camera)
                    self._changed.notify_all()
