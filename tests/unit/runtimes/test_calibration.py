"""What becomes of the outputs of a network: calibrated probabilities and unlikeness."""

from pathlib import Path

import numpy as np
import pytest

from slimstream.core.errors import UserError
from slimstream.runtimes.calibration import Calibration, Reference, read_calibration, write_calibration

# Two classes at (±2, 0) of features that are projected as they are.
REFERENCE = Reference(np.zeros(2), np.ones(2), np.eye(2), np.array([[-2.0, 0.0], [2.0, 0.0]]))


def test_probabilities_are_those_of_the_logits_divided_by_the_temperature() -> None:
    given = np.array([[0.0, np.log(9)]])
    probabilities, unlikeness = Calibration(temperature=2).answer(given, 2)
    assert probabilities == pytest.approx(np.array([[0.25, 0.75]])) and np.isnan(unlikeness).all()


def test_the_distance_from_the_classes_by_hand() -> None:
    features = np.array([[2.0, 0.0], [0.0, 0.0], [2.0, 3.0], [4.0, 0.0]])
    # To the nearest class 0, 2, 3 and 2; of the way to it 1, 0, 1 and 2.
    expected = [0, 2, 3 / np.e, 2 / np.e**2]
    assert REFERENCE.away(features) == pytest.approx(expected)


def test_pictures_of_other_things_turn_the_features_away_from_their_mean() -> None:
    mean = Reference(np.array([3.0, 0.0]), np.ones(2), np.eye(2), REFERENCE.means)
    features = np.array([[9.0, 0.0], [1.0, np.sqrt(3)], [0.0, 5.0], [0.0, 0.0]])
    assert mean.turned(features) == pytest.approx([0, 0.5, 1, 1]), "how large they are does not matter"


def test_a_class_without_clips_is_not_near_to_anything() -> None:
    gap = Reference(np.zeros(2), np.ones(2), np.eye(2), np.vstack([REFERENCE.means, np.full((1, 2), np.nan)]))
    assert gap.away(np.array([[2.0, 3.0]])) == pytest.approx(3 / np.e)


def test_written_and_read_it_answers_the_same_and_a_folder_without_is_the_default(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) == Calibration()
    made = Calibration(1.5, REFERENCE, limits=(10, 0.5), left_out={"on": 0.9})
    write_calibration(made, tmp_path)
    read = read_calibration(tmp_path)
    assert read.left_out == {"on": 0.9} and read.outputs == ("logits", "features")
    given = np.array([[1.0, 2.0, 2.0, 3.0]])
    for one, other in zip(read.answer(given, 2), made.answer(given, 2), strict=True):
        assert one == pytest.approx(other)
    assert made.answer(given, 2)[1] == pytest.approx([3 / np.e / 0.5])


def test_what_is_turned_counts_only_beyond_its_limit() -> None:
    mean = Reference(np.array([3.0, 0.0]), np.ones(2), np.eye(2), np.array([[0.0, 0.0], [2.0, 0.0]]))
    half = np.array([[1.5, 1.5 * np.sqrt(3)]])
    away = 3 / np.exp(2.5)  # turned is 0.5
    assert mean.unlikeness(half, (0.6, 10)) == pytest.approx(away / 10)
    assert mean.unlikeness(half, (0.4, 10)) == pytest.approx(1.25)
    assert mean.unlikeness(half, (0.4, 0.1)) == pytest.approx(away / 0.1), "the larger one counts"


def test_a_damaged_reference_is_one_sentence(tmp_path: Path) -> None:
    write_calibration(Calibration(1.5, REFERENCE, limits=(1, 0.5)), tmp_path)
    (tmp_path / "reference.safetensors").write_bytes(b"none")
    with pytest.raises(UserError, match=r"reference.safetensors is damaged or missing: export it again"):
        read_calibration(tmp_path)
