"""The state of a camera: it changes when several answers after each other agree."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """A new state."""

    state: str
    before: str | None
    probability: float
    """Mean of the probability of the state over the answers that agreed, 0..1."""


class State:
    """The state of one camera, None before the first answers agree."""

    def __init__(self, agree: int, agree_for: Mapping[str, int]) -> None:
        """`agree` answers change it; `agree_for` says it for single states."""
        self.state: str | None = None
        self._agree, self._agree_for = agree, agree_for
        self._label = ""
        self._run: deque[float] = deque(maxlen=max(agree, *agree_for.values(), 1))

    def see(self, label: str, probability: float) -> Change | None:
        """Take an answer (a class or `unknown`) and its probability; returns a change if it completes one."""
        if label != self._label:
            self._label = label
            self._run.clear()
        self._run.append(probability)
        if label == self.state or len(self._run) < self._agree_for.get(label, self._agree):
            return None
        change = Change(label, self.state, sum(self._run) / len(self._run))
        self.state = label
        return change

    def forget(self) -> None:
        """Begin to count anew: what follows is no neighbour of the answers so far."""
        self._label = ""
