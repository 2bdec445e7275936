"""A bad item costs itself alone, even when it kills its process."""

import os
import signal

from slimstream.core.parallel import WorkerDied, parallel_map


def treacherous(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == 5:
        raise ValueError("five")
    return item * item


def test_one_item_raises_and_another_kills_its_process() -> None:
    found = dict(parallel_map(treacherous, range(12), workers=2))
    assert sorted(found) == list(range(12))
    assert isinstance(found.pop(3), WorkerDied)
    five = found.pop(5)
    assert isinstance(five, ValueError) and str(five) == "five"
    assert found == {n: n * n for n in found}


def test_nothing_to_do() -> None:
    assert list(parallel_map(treacherous, [])) == []
