"""Whether this machine is too slow for a stream, told by how late its packets are read."""

from collections.abc import Callable

BEHIND, CAUGHT_UP = 1.0, 0.5
"""Seconds: packets that are read later than the first are left out until they are read less late than the
second."""
PERIOD = 10.0
"""Seconds within which a stream that comes in bursts, such as HLS, is in time at least once."""
DRIFT = 5e-4
"""Seconds a second by which the camera's clock may be slower than this machine's."""
RESET = 10.0
"""A sudden step of so many seconds is the camera's clock that was set."""


class Lateness:
    """Tells which packets to leave out so that a slow machine stays in time."""

    def __init__(self, in_turn: Callable[[], bool] = lambda: True) -> None:
        """`in_turn` tells whether the stream is looked at now: see `Turns`."""
        self.in_turn = in_turn
        self.behind = False
        self._waits = False  # for its turn, and then for a key frame
        self._seen = 0.0  # when the last packet was read
        self._delay: float | None = None  # its reading time minus its timestamp
        self._least = 0.0  # the same of a packet that was read in time
        self._until = 0.0  # end of the period
        self._best = 0.0  # least lateness in it

    def leaves_out(self, now: float, stamp: float, key: bool) -> bool:
        """Whether to leave out a packet.

        Args:
            now: seconds, when it was read.
            stamp: seconds, its timestamp.
            key: whether decoding can begin with it.
        """
        if not self.in_turn():
            self._waits, self.behind, self._delay = True, False, None
            return True
        delay = now - stamp
        if self._delay is None or abs(delay - self._delay) > RESET + now - self._seen:
            self._least, self._until, self._best, self.behind = delay, now + PERIOD, 0.0, False
        else:
            self._least = min(delay, self._least + DRIFT * (now - self._seen))
        self._seen, self._delay = now, delay
        late = delay - self._least
        self._best = min(self._best, late)
        if now >= self._until:
            self.behind = self.behind or self._best > BEHIND
            self._until, self._best = now + PERIOD, late
        if self.behind and key and late < CAUGHT_UP:
            self.behind = False
        self._waits = self._waits and not key
        return self.behind or self._waits
