"""The sample of what was learnt from, beside the network."""

from pathlib import Path

import numpy as np
import pytest

from slimstream.core.errors import UserError
from slimstream.runtimes.calibration import calibration_files
from slimstream.runtimes.seen import FILE, MEASURES, Seen, read_seen, write_seen


def test_it_comes_back_and_belongs_to_the_version(tmp_path: Path) -> None:
    assert read_seen(tmp_path) is None and calibration_files(tmp_path) == []
    values = np.arange(2.0 * len(MEASURES)).reshape(2, -1)
    values[0, 0] = np.nan
    write_seen(Seen(values, np.array([0, 1]), np.array([3, 4])), tmp_path)
    read = read_seen(tmp_path)
    assert read is not None and np.array_equal(read.values, values, equal_nan=True)
    assert read.truth.tolist() == [0, 1] and read.group.tolist() == [3, 4]
    assert calibration_files(tmp_path) == [tmp_path / FILE]


@pytest.mark.parametrize("values", [np.zeros((2, 3)), np.zeros((1, len(MEASURES)))])
def test_another_file_is_refused_with_a_sentence(tmp_path: Path, values: np.ndarray) -> None:
    write_seen(Seen(values, np.array([0, 1]), np.array([3, 4])), tmp_path)
    with pytest.raises(UserError, match=r"seen\.safetensors is damaged: export it again"):
        read_seen(tmp_path)
    (tmp_path / FILE).write_bytes(b"{}")
    with pytest.raises(UserError, match="damaged"):
        read_seen(tmp_path)
