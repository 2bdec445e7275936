"""The code of a bundle is what its imports lead to where only its packages are installed."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from slimstream.bundle.code import ROOT, Code
from slimstream.bundle.make import ENTRY

TEXTS = {
    "toy/__init__.py": "",
    "toy/start.py": "import json\nfrom toy.deep import far\n"
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import toy.types\n"
    "def later():\n    from toy import heavy, light\n    import torch\n",
    "toy/deep/__init__.py": "",
    "toy/deep/far.py": 'import numpy\nPAGE = "page.html"\n',
    "toy/deep/page.html": "<p>",
    "toy/deep/other.html": "<p>",
    "toy/light.py": "from toy.start import later\n",
    "toy/heavy.py": "from toy import laden\n",
    "toy/laden.py": "try:\n    import torch\nexcept ImportError:\n    torch = None\n",
    "toy/types.py": "",
    "toy/unused.py": "",
}


def test_it_follows_imports_but_not_to_what_cannot_be_imported(tmp_path: Path) -> None:
    for name, text in TEXTS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    taken = {str(file.relative_to(tmp_path)) for file in Code("toy.start", {"numpy"}, tmp_path).files()}
    left = {"toy/heavy.py", "toy/laden.py", "toy/types.py", "toy/unused.py", "toy/deep/other.html"}
    assert taken == set(TEXTS) - left
    with_torch = {file.name for file in Code("toy.start", {"numpy", "torch"}, tmp_path).files()}
    assert {"heavy.py", "laden.py"} <= with_torch


@pytest.mark.parametrize("package", ["openvino", "onnxruntime"])
def test_a_bundle_has_what_predict_and_watch_need_and_no_training(package: str) -> None:
    lock = files("slimstream.bundle").joinpath(f"{package}.lock").read_text()
    taken = Code(ENTRY, set(re.findall(r"^([\w-]+)==", lock, re.MULTILINE))).files()
    names = {str(file.relative_to(ROOT / "slimstream")) for file in taken}
    assert {"watch/page/page.html", "watch/watcher.py", "serving/classifier.py", "clips/flow.py"} <= names
    rooms = {name.partition("/")[0] for name in names if not name.endswith(("params.py", "__init__.py"))}
    assert not rooms & {"models", "datasets", "experiments", "registry", "bundle", "sensors"}
    assert sum(file.stat().st_size for file in taken) < 1e6
