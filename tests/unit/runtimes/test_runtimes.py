"""The list of runtimes: who asks it, and that reading it costs nothing."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from slimstream.core.errors import UserError
from slimstream.pipeline.params import load_params
from slimstream.registry.artifacts import requirements
from slimstream.runtimes import REFERENCE, RUNTIMES, open_network
from slimstream.runtimes.base import LOGITS, Network, Runtime, warm_up
from slimstream.stages.export.params import ExportParams


def test_the_list_is_read_without_what_runs_networks() -> None:
    code = "import slimstream.runtimes, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "numpy", "onnxruntime", "openvino", "nncf"} & set(loaded.split())


def test_the_first_is_the_reference_and_names_the_files_of_old_exports() -> None:
    assert next(iter(RUNTIMES)) == REFERENCE
    for name, exact, files in (
        ("onnx", True, ("network.onnx",)),
        ("openvino", True, ("network.xml", "network.bin")),
        ("openvino-w8", False, ("w8.onnx",)),
        ("openvino-bf16", False, ("network.xml", "network.bin")),
        ("openvino-w8-bf16", False, ("w8.onnx",)),
        ("openvino-int8", False, ("int8.xml", "int8.bin")),
    ):
        assert RUNTIMES[name].files == files and RUNTIMES[name].exact == exact


def test_settings_name_runtimes_of_the_list(tmp_path: Path) -> None:
    assert ExportParams().runtimes == list(RUNTIMES)
    (tmp_path / "params.yaml").write_text("export: {runtimes: [onnx, openvino-int4]}\n")
    with pytest.raises(UserError, match=r"no runtime 'openvino-int4'; choose among onnx, "):
        load_params(tmp_path / "params.yaml")


def test_a_name_that_is_not_in_the_list_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no runtime 'tensorrt'; choose one of onnx, "):
        open_network(tmp_path, "tensorrt")


class NotInstalled(Runtime):
    title = "a runtime whose package is not installed"
    files = ("network.nope",)
    packages = ("no-such-package",)

    def write(self, *_: object) -> None:
        raise AssertionError("only opened here")

    def open(self, folder: Path, *, threads: int, at_once: int, outputs: Sequence[str] = LOGITS) -> Network:
        import no_such_package

        return no_such_package.load(folder)


def test_a_package_that_is_not_installed_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RUNTIMES, "other", NotInstalled())
    with pytest.raises(UserError, match="the runtime other needs no_such_package, which is not installed"):
        open_network(tmp_path, "other")


def test_a_registered_version_requires_the_packages_of_every_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"onnxruntime", "openvino", "mlflow"} <= set(requirements())
    monkeypatch.setitem(RUNTIMES, "other", NotInstalled())
    assert "no-such-package" in requirements()


def test_warm_up_calls_all_networks_even_if_one_fails() -> None:
    asked = []

    def works(clip: np.ndarray) -> np.ndarray:
        asked.append(clip.shape)
        return np.zeros((1, 3), np.float32)

    def fails(clip: np.ndarray) -> np.ndarray:
        raise RuntimeError("the kernel is larger than the clip")

    warm_up([fails, works, works], np.zeros((1, 2, 5, 8, 8), np.uint8))
    assert asked == [(1, 2, 5, 8, 8)] * 2
