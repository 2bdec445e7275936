"""Models are compared by their times, and so none may have an advantage, and noise may not be one."""

import time
from pathlib import Path

import numpy as np
import pytest

from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.stages.evaluate import times
from slimstream.stages.evaluate.times import Times, ratio_intervals

EXTRACT = ExtractParams(frames=8)
WHOLE, FEW = NetworkInput.of(EXTRACT), NetworkInput.of(EXTRACT, Reduction(frames=2))


def test_a_slow_disk_is_no_disadvantage_of_the_first_model(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[Path, NetworkInput]] = []

    def pack(file: Path, input: NetworkInput) -> None:
        if file not in dict(read):
            time.sleep(0.03)
        read.append((file, input))

    monkeypatch.setattr(times, "pack_clip", pack)
    files = [Path(name) for name in "abc"]
    whole, few, again = times.time_preparations(files, [WHOLE, FEW, WHOLE])
    assert max(whole) < 20 and max(few) < 20
    assert whole is again, "equal inputs are timed once"
    assert read[3:] == [(file, input) for file in files for input in (WHOLE, FEW)], "they take turns"


def timed(network: float, prepare: float, seed: int, spread: float = 0.1) -> Times:
    rng = np.random.default_rng(seed)
    calls, files = (1 + spread * rng.standard_normal(n) for n in (30, 5))
    return Times((network * calls).tolist(), (prepare * files).tolist(), clips=2)


def test_times_that_differ_less_than_they_spread_are_equal_and_others_are_not() -> None:
    whole = timed(20, 100, 0)
    noisy = ratio_intervals(timed(20, 100, 1), whole, 0)
    assert noisy["file_to_answer_ratio_low"] < 1 < noisy["file_to_answer_ratio_high"]
    slim = ratio_intervals(timed(5, 40, 2), whole, 0)
    # 2 · 5 + 40 of 2 · 20 + 100 ms
    assert slim["file_to_answer_ratio_low"] < 50 / 140 < slim["file_to_answer_ratio_high"] < 0.5
    assert slim["latency_ratio_low"] < 0.25 < slim["latency_ratio_high"] < 0.3


def test_what_slows_both_does_not_widen_the_interval() -> None:
    """The same turns are drawn for both: other load on the machine affects them alike."""
    whole = timed(20, 100, 0, spread=0.5)
    half = Times([t / 2 for t in whole.calls], [t / 2 for t in whole.files], clips=2)
    assert set(ratio_intervals(half, whole, 0).values()) == {0.5}
    assert (whole.total.p50, half.total.p50) == (
        2 * whole.network.p50 + whole.prepare.p50,
        whole.total.p50 / 2,
    )
