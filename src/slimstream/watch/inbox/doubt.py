"""Why a window is worth a label: the network does not know it, is not sure, or contradicts its neighbours."""

from dataclasses import dataclass

from slimstream.catalog.names import UNKNOWN
from slimstream.serving.classifier import Answer
from slimstream.watch.looks import Look

UNCERTAIN, DISAGREEING = "uncertain", "disagreeing"


@dataclass(frozen=True)
class Doubtful:
    """A window that is worth a label."""

    look: Look
    why: str
    """UNKNOWN, UNCERTAIN or DISAGREEING."""
    usefulness: float
    """0..2, the larger the likelier a label helps. Above 1 for what the network does not know."""


class Doubts:
    """Finds doubtful windows.

    - UNKNOWN: the network answers `unknown`. Its usefulness is 2 - 1 / unlikeness.
    - UNCERTAIN: its two best probabilities differ by less than `margin` (margin sampling, Scheffer et al.
      2001). Its usefulness is 1 - the difference.
    - DISAGREEING: it names a class other than the agreed state, and does not go on until the state changes.
      Its usefulness is 1 - the probability of the state. The first answers of a new state differ from the
      old one, too, and are right: so such a window waits until its camera's answers have decided.
    """

    def __init__(self, margin: float) -> None:
        self._margin = margin
        self._waiting: dict[str, Doubtful] = {}

    def see(self, look: Look) -> list[Doubtful]:
        """What is doubtful now: the window of `look`, an earlier one of its camera, both or none."""
        found = []
        label = look.answer["label"]
        if before := self._waiting.get(look.camera):
            named = before.look.answer["label"]
            if look.state == named or label != named:
                del self._waiting[look.camera]
                found += [before] if look.state != named else []
        if now := self._doubtful(look):
            if now.why == DISAGREEING:
                self._waiting.setdefault(look.camera, now)
            else:
                found.append(now)
        return found

    def rest(self) -> list[Doubtful]:
        """Windows that wait, when nothing comes any more."""
        rest = list(self._waiting.values())
        self._waiting.clear()
        return rest

    def _doubtful(self, look: Look) -> Doubtful | None:
        answer, label = look.answer, look.answer["label"]
        if label == UNKNOWN:
            return Doubtful(look, UNKNOWN, 2 - 1 / max(answer["unlikeness"], 1.0))
        p = probabilities(answer)
        best = sorted(p.values(), reverse=True)
        if len(best) > 1 and best[0] - best[1] < self._margin:
            return Doubtful(look, UNCERTAIN, 1 - (best[0] - best[1]))
        if look.state not in (None, UNKNOWN, label):
            return Doubtful(look, DISAGREEING, 1 - p.get(look.state or "", 0.0))
        return None


def probabilities(answer: Answer) -> dict[str, float]:
    """Class → probability, 0..1."""
    return {name[2:]: float(value) for name, value in answer.items() if name.startswith("p_")}
