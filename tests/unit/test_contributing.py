"""The examples of docs/contributing.md work as they are printed."""

import math
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.models import create_model
from slimstream.models.cost import count_params
from slimstream.runtimes import RUNTIMES, open_network
from slimstream.runtimes.export import export
from slimstream.training.objectives import CrossEntropy
from tests.unit.training.fakes import FixedLogits, batch

PAGE = Path(__file__).parents[2] / "docs/contributing.md"
KNOWN = {
    **{"math": math, "np": np, "pd": pd, "pytest": pytest, "torch": torch, "Path": Path},
    **{
        "Paths": Paths,
        "null_log": null_log,
        "CrossEntropy": CrossEntropy,
        "FixedLogits": FixedLogits,
        "batch": batch,
    },
    **{"create_model": create_model, "export": export, "open_network": open_network},
}
"""Names that the tests in the page use without importing them."""


def example(section: str) -> tuple[dict[str, Any], Callable[..., None] | None]:
    """The names that the Python of a section defines, and the test among them, if there is one."""
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    names = dict(KNOWN)
    for block in re.findall(r"^   ```python\n(.*?)^   ```", text, re.MULTILINE | re.DOTALL):
        exec(compile(textwrap.dedent(block), str(PAGE), "exec"), names)
    return names, next((value for name, value in names.items() if name.startswith("test_")), None)


def test_a_backbone() -> None:
    names, _ = example("Add a backbone")
    with torch.device("meta"):
        network = names["two_stream_regnet"](3, freeze=2)
    assert count_params(network.rgb) + 1000 * (368 + 1) == pytest.approx(2.68e6, rel=0.003)
    assert network(torch.zeros(1, 2, 5, 64, 64, device="meta")).shape == (1, 3)


def test_an_objective() -> None:
    _, test = example("Add an objective")
    assert test is not None
    test()


def test_a_stage(tmp_path: Path) -> None:
    _, test = example("Add a stage")
    assert test is not None
    test(tmp_path)


def test_a_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, test = example("Add a runtime")
    monkeypatch.setitem(RUNTIMES, "onnx-int8", names["OnnxInt8"]())
    assert test is not None
    test(tmp_path)
