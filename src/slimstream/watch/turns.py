"""Turns: a machine that cannot look at all cameras at once looks at some of them, then at the next ones."""

from collections.abc import Collection, Sequence

SETTLE = 20.0
"""Seconds after which a change shows in how late packets are read, which is judged over ten of them."""
MORE = 120.0
"""Seconds without a camera that is late, after which one more is looked at."""


class Turns:
    """Which cameras are looked at now: all of them, until some are late for longer than a moment.

    Then fewer are looked at at once, and each camera in turn for `seconds`. `look` is called by one thread,
    about once a second, `has` by all.
    """

    def __init__(self, names: Sequence[str], seconds: float) -> None:
        self.seconds = seconds
        self.at_once = len(names)
        self._names = list(names)
        self._first = 0
        self._changed: float | None = None
        self._began = 0.0
        self._waiting: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Whether the camera `name` is looked at now."""
        return name not in self._waiting

    @property
    def all_at_once(self) -> bool:
        """Whether no camera has to wait for its turn."""
        return self.at_once == len(self._names)

    def look(self, now: float, late: Collection[str]) -> None:
        """Decide how many and which cameras are looked at from `now` on, in seconds of any clock.

        `late` are those of them of which the machine leaves out frames.
        """
        if not self._names:
            return
        if self._changed is None:
            self._changed = self._began = now
        if late and now - self._changed >= SETTLE:
            kept = 0.5 if 2 * len(late) > self.at_once else 0.75
            self._set(max(1, int(kept * self.at_once)), now)
        elif not late and not self.all_at_once and now - self._changed >= MORE:
            self._set(self.at_once + 1, now)
        if self.all_at_once:
            return
        if now - self._began >= self.seconds:
            self._first = (self._first + self.at_once) % len(self._names)
            self._choose(now)

    def _set(self, at_once: int, now: float) -> None:
        self.at_once, self._changed = at_once, now
        self._choose(now)

    def _choose(self, now: float) -> None:
        ring = self._names[self._first :] + self._names[: self._first]
        self._waiting, self._began = frozenset(ring[self.at_once :]), now
