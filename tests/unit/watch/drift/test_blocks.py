"""Windows become blocks of two minutes with means, shares and a scene."""

from pathlib import Path

import numpy as np
import pytest

from slimstream.runtimes.calibration import Calibration, Reference
from slimstream.runtimes.seen import MEASURES
from slimstream.watch.drift.blocks import NAMES, Blocks, Measured, measure
from slimstream.watch.looks import Look
from slimstream.watch.windows import Window
from tests.unit.watch import tiny
from tests.unit.watch.drift.test_scene import scene


def measured(value: float, state: str = "normal") -> Measured:
    return Measured(np.full(len(MEASURES), value), state, scene())


def test_a_block_is_the_mean_of_its_windows() -> None:
    blocks = Blocks()
    states = ["leak", "normal", "normal", "unknown"]
    assert not any(blocks.add(1200.0 + 30 * i, measured(i, state)) for i, state in enumerate(states))
    block = blocks.add(1320.0, measured(9))
    assert block is not None and block.began == 1200 and block.state == "normal"
    assert block.values[: len(MEASURES)].tolist() == [1.5] * len(MEASURES) and len(block.values) == len(NAMES)
    assert block.shares == {"leak": 0.25, "normal": 0.5, "unknown": 0.25}
    assert np.array_equal(block.scene, scene())


def test_a_block_with_hardly_any_windows_says_nothing() -> None:
    blocks = Blocks()
    blocks.add(0.0, measured(1))
    assert blocks.add(500.0, measured(1)) is None
    assert blocks.add(700.0, measured(1)) is None


def test_a_fast_camera_fills_no_memory() -> None:
    blocks = Blocks()
    for i in range(1000):
        blocks.add(0.1 * i, measured(1))
    assert len(blocks._scenes) == 10  # one each ten seconds


@pytest.mark.parametrize("knows", [True, False])
def test_a_window_is_measured_with_what_its_network_says(tmp_path: Path, knows: bool) -> None:
    model = tiny.model(tmp_path)
    if knows:
        means = np.array([[0.0, 0.0], [1.0, 0.0]])
        reference = Reference(np.zeros(3), np.ones(3), np.eye(3)[:, :2], means)
        model.classifier._calibration = Calibration(1.0, reference, (1.0, 1.0))
    answer = {"label": "leak", "p_leak": 0.8, "p_normal": 0.2} | ({"unlikeness": 0.4} if knows else {})
    features = np.array([1.0, 2.0, 3.0]) if knows else np.zeros(0)
    window = Window(model, [tiny.flat(tiny.RED)] * 3, [0.0, 0.1, 0.2], 5.0, 0.0)
    found = measure(Look("gate", window, answer, features, lambda: []))
    values = dict(zip(MEASURES, found.values, strict=True))
    assert found.state == "leak" and found.scene.shape == (72, 96) and values["confidence"] == 0.8
    assert values["red"] == pytest.approx(200 / 320)
    wanted = (0.4, 1.0, 2.0, np.nan) if knows else (np.nan,) * 4
    got = [values[name] for name in ("unlikeness", "feature 1", "feature 2", "feature 3")]
    assert got == pytest.approx(wanted, nan_ok=True)
