"""Samples that vary by themselves are no difference; what is one has a name."""

import numpy as np
import pytest

from slimstream.watch.drift.blocks import NAMES
from slimstream.watch.drift.judge import (
    GROUPS,
    LEAST,
    LOOKS,
    Difference,
    differences,
    group_allowance,
    grouped,
    kind,
    own_allowance,
    probability,
)

RNG = np.random.default_rng(0)
BEFORE = np.full(len(NAMES), 0.5)


def walk(blocks: int, memory: float) -> np.ndarray:
    """Blocks (n, 1) of which each resembles the one before it; their standard deviation is 1."""
    x = [RNG.normal()]
    for _ in range(blocks - 1):
        x.append(memory * x[-1] + np.sqrt(1 - memory**2) * RNG.normal())
    return np.array(x)[:, None]


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_neighbours_that_resemble_each_other_are_no_difference(memory: float) -> None:
    x = walk(720 + 3000, memory)
    looks = [x[720 + 5 * i : 730 + 5 * i] for i in range(590)]
    assert not any(differences(now, x[:720], ["brightness"], LOOKS) for now in looks)
    (found,) = differences(looks[0] + 9, x[:720], ["brightness"], LOOKS)
    assert found.now - found.before == pytest.approx(9, abs=2.5) and found.text.startswith("brightness ")


def test_what_differs_by_the_allowance_is_likely() -> None:
    known = RNG.normal(size=300)
    assert probability(known[:50] + 2, known, 2) > 0.5
    assert probability(known[:50] + 5, known, 2) < 1e-6
    assert probability(known[:50] - 5, known, 2) < 1e-6


def test_a_short_sample_allows_more_and_a_constant_one_the_least() -> None:
    least = np.array([0.1])
    assert own_allowance(np.zeros((720, 1)), least) == pytest.approx(0.1)
    assert own_allowance(np.zeros((30, 1)), least) == pytest.approx(0.1 * GROUPS / 3)
    day_and_night = np.repeat([0.2, 0.8], 360)[:, None]
    assert own_allowance(day_and_night, least) == pytest.approx(0.6)
    assert grouped(np.arange(25.0)[:, None]).tolist() == [[9.5], [19.5]]


def test_a_measure_that_is_missing_is_not_compared() -> None:
    known = np.full((100, 1), np.nan)
    assert not differences(np.ones((10, 1)), known, ["unlikeness"], LOOKS)


def test_a_new_group_may_differ_as_much_as_the_known_ones_do() -> None:
    group = np.repeat(np.arange(4), 5)
    allowance = group_allowance(np.repeat([1.0, 2, 3, 4], 5), group)
    assert allowance == pytest.approx(12.92 * 1.29 * np.sqrt(1.25), rel=0.01)  # Student's t for 3, 0.9995
    assert group_allowance(np.repeat([1.0, 2], 5), group[:10]) is None


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, None),
        ({"brightness": 0.1, "alike": 0.1}, "covered"),
        ({"sharpness": -0.3, "alike": 0.1}, "covered"),
        ({"alike": 0.1, "brightness": 0.4}, "moved"),
        ({"alike": 0.1, "sharpness": 0.2}, "moved"),
        ({"alike": 0.45, "worst part": 0.2}, "drift"),
        ({"brightness": 0.1}, "light"),
        ({"red": 0.6, "unlikeness": 2.0}, "light"),
        ({"worst part": 0.1}, "drift"),
        ({"unlikeness": 2.0}, "drift"),
        ({"sharpness": -0.3}, "drift"),
    ],
)
def test_what_differs_has_a_name(changes: dict[str, float], wanted: str | None) -> None:
    now = BEFORE.copy()
    for name, value in changes.items():
        now[NAMES.index(name)] = value
    found = {name: Difference(name, value, 0.5, 1e-9) for name, value in changes.items()}
    assert kind(found, now, BEFORE) == wanted


def test_every_measure_has_its_least_allowance() -> None:
    assert LEAST.keys() == set(NAMES) and min(LEAST.values()) > 0
