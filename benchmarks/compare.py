"""Compares our time with a peer's, measured in turns: the ratio depends little on the machine's speed."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Call = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """One line of the table: `ours` took `ratio` times as long as `peer`."""

    part: str
    ours: str
    peer: str
    ratio: float
    """Median over the rounds."""
    low: float
    high: float
    """Smallest and largest of the rounds."""
    most: float | None = None
    """The ratio to stay below, if there is one."""
    note: str = ""

    @property
    def reached(self) -> bool | None:
        return None if self.most is None else self.ratio <= self.most


def compare_times(
    part: str,
    ours: tuple[str, Call],
    peer: tuple[str, Call],
    *,
    most: float | None = None,
    rounds: int = 7,
    warm_up: int = 1,
    note: str = "",
) -> Result:
    """Run both `rounds` times in turns and compare their times; the first one changes every round."""
    for _ in range(warm_up):
        ours[1](), peer[1]()
    ratios = []
    for number in range(rounds):
        if number % 2:
            theirs, mine = seconds(peer[1]), seconds(ours[1])
        else:
            mine, theirs = seconds(ours[1]), seconds(peer[1])
        ratios.append(mine / theirs)
    return ratio_result(part, ours[0], peer[0], ratios, most=most, note=note)


def ratio_result(
    part: str, ours: str, peer: str, ratios: list[float], *, most: float | None = None, note: str = ""
) -> Result:
    """The Result for the `ratios` of all rounds; also prints it."""
    made = Result(part, ours, peer, statistics.median(ratios), min(ratios), max(ratios), most, note)
    print(f"  {table_row(made)}", flush=True)
    return made


def seconds(call: Call) -> float:
    """Wall time of one call; garbage of earlier calls is collected before it."""
    gc.collect()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def times(ratio: float) -> str:
    """The ratio as text."""
    return f"{1 / ratio:.1f} × as fast" if ratio < 0.67 else f"{ratio:.2f} × the time"


def table_row(r: Result) -> str:
    """The result as a line of text for the terminal."""
    verdict = "" if r.most is None else f"  (≤ {r.most:.2f}: {'reached' if r.reached else 'MISSED'})"
    return f"{r.ours} / {r.peer}: {r.ratio:.3f} ({r.low:.3f} to {r.high:.3f}){verdict} {r.note}".rstrip()
