"""The packages of a bundle: those of requirements.lock, without what a small box has no place for."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = sorted((ROOT / "src/slimstream/bundle").glob("*.lock"))
NEVER = {
    "torch",
    "mlflow",
    "prefect",
    "dvc",
    "pandas",
    "scipy",
    "scikit-learn",
    "opencv-python",
    "matplotlib",
}


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+)==(\S+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_versions_are_those_that_the_network_was_evaluated_with(lock: Path) -> None:
    whole, small = pins(ROOT / "requirements.lock"), pins(lock)
    assert small.pop("opencv-python-headless") == whole["opencv-python"]
    assert small.items() <= whole.items() and not small.keys() & NEVER
    assert {"openvino", "onnxruntime"} & small.keys() == {lock.stem}, "one runtime"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_package_has_hashes_and_no_host_is_named(lock: Path) -> None:
    text = lock.read_text()
    for entry in re.split(r"^(?=[\w-]+==)", text, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in entry
    assert "http" not in text and "--index" not in text
