"""Models are compared by the time of preparing a clip, and so none may have an advantage."""

import time
from pathlib import Path

import pytest

from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.stages.evaluate import deployed

EXTRACT = ExtractParams(frames=8)
WHOLE, FEW = NetworkInput.of(EXTRACT), NetworkInput.of(EXTRACT, Reduction(frames=2))


def test_a_slow_disk_is_no_disadvantage_of_the_first_model(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[Path, NetworkInput]] = []

    def pack(file: Path, input: NetworkInput) -> None:
        if file not in dict(read):
            time.sleep(0.03)
        read.append((file, input))

    monkeypatch.setattr(deployed, "pack_clip", pack)
    files = [Path(name) for name in "abc"]
    whole, few, again = deployed.time_preparations(files, [WHOLE, FEW, WHOLE])
    assert whole.p50 < 20 and few.p50 < 20
    assert whole is again, "equal inputs are timed once"
    assert read[3:] == [(file, input) for file in files for input in (WHOLE, FEW)], "they take turns"
