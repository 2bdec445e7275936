"""Shared by all tests: few threads, no reporting home, real data only where it lies."""

import os
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "2")
os.environ |= {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}

import pytest  # noqa: E402

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tank_state() -> Path:
    """The real surveillance clips; the test is skipped where they are not."""
    folder = ROOT.parent / "shared/data/tank-state"
    if not folder.is_dir():
        pytest.skip(f"real clips are not at {folder.relative_to(ROOT.parent)}")
    return folder
