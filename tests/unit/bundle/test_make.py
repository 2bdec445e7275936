"""A bundle runs where nothing else of slimstream is, and says the same."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimstream.bundle import make as module
from slimstream.bundle.make import make_bundle
from slimstream.cli.parser import main
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.registry.scores import FILE as SCORES
from slimstream.registry.scores import Score, Scores
from slimstream.runtimes.seen import MEASURES, Seen, write_seen
from slimstream.serving.predict import predict
from slimstream.serving.sealed import CARD, LOCK, Sealed
from slimstream.watch.champion import Champion
from tests.unit.bundle.keys import key_pair
from tests.unit.finished_pipeline import render
from tests.unit.watch import tiny

BLOCKED = ("torch", "mlflow", "prefect", "dvc", "pandas", "scipy", "sklearn", "matplotlib", "git", "requests")
RUN = f"""
import runpy, sys
for name in {BLOCKED}:
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Registry:
    """In place of MLflow: one version."""

    name = "tank"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, version: int, cache: Path) -> Path:
        return self.folder

    def description(self, version: int) -> str:
        return "Champion, 2026-01-01: tank version 3 (slim) is champion.\n\n**Learnt from:** 40 clips."

    def lineage(self, version: int) -> dict[str, Any]:
        return {"recipe": "tank", "training_clips": [{"groups": {"person": "Ada"}}], "source": "clips"}

    def tags(self) -> dict[int, dict[str, str]]:
        return {3: {"gate": "passed", "macro_f1": "0.91", "split_hash": "x"}}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a version's files, a clip, a pair of keys and the version's signed bundle."""
    root = tmp_path_factory.mktemp("plant")
    scores = Scores([Score("north | 1", 8, 4, 6), Score("south", 4, 4, 4)], [Score("leak", 12, 8, 10)])
    (tiny.export(root / "version") / SCORES).write_text(scores.to_json())
    for name in ("lineage.json", "suspects.json"):
        (root / "version" / name).write_text('{"of": "Ada"}')
    one = np.zeros(1, np.int64)
    write_seen(Seen(np.zeros((1, len(MEASURES))), one, one), root / "version")
    render(root / "a.mp4", "leak", 1.0)
    private, _ = key_pair(root, "ours")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "find_version", lambda name, paths: (Registry(root / "version"), 3))
        said = make_bundle("tank/3", Paths(root), root / "tank-3.pyz", private)
    assert "is tank 3, run by onnx" in said and "signed with" in said
    return root


def test_the_card_tells_how_good_it_is_and_no_list_of_clips_goes_along(plant: Path) -> None:
    bundle = Sealed(plant / "tank-3.pyz")
    card = bundle.read(CARD).decode()
    assert card.startswith("# tank 3\n\nChampion, 2026-01-01") and "python3 tank-3.pyz install env" in card
    assert "| north \\| 1 | 8 | 4 | 6 (75 %) | 30 to 95 % |" in card and "| leak | 12 | 8 |" in card
    assert bundle.content["lineage"] == {"recipe": "tank", "source": "clips"}
    assert not any(
        b"Ada" in bundle.read(name) for name in bundle.hashes if not name.startswith("slimstream/")
    )


def test_everything_that_is_needed_is_in_it_once(plant: Path) -> None:
    names = Sealed(plant / "tank-3.pyz").hashes.keys()
    beside = {name for name in names if not name.startswith(("slimstream/", "model/"))}
    assert beside == {CARD, LOCK, "LICENSE", "__main__.py"}
    model = {"network.onnx", "preprocessing.json", "runtimes.json", "seen.safetensors"}
    assert {name.removeprefix("model/") for name in names if name.startswith("model/")} == model


def run(bundle: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The bundle's own program, where heavy packages cannot be imported."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SLIMSTREAM_CACHE")}
    return subprocess.run(
        [sys.executable, "-I", "-c", RUN, str(bundle), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_it_says_what_the_whole_installation_says(plant: Path, tmp_path: Path) -> None:
    (whole,) = predict([plant / "a.mp4"], plant / "version")
    said = run(plant / "tank-3.pyz", "predict", str(plant / "a.mp4"), cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    (row,) = csv.DictReader(io.StringIO(said.stdout))
    assert row["label"] == whole["label"] == "leak" and float(row["p_leak"]) == whole["p_leak"]


def test_it_watches(plant: Path, tmp_path: Path) -> None:
    (tmp_path / "watch.yaml").write_text("agree: 1\n")
    asked = ["watch", str(plant / "a.mp4"), "--settings", "watch.yaml", "--port", "0"]
    said = run(plant / "tank-3.pyz", *asked, "--public-key", str(plant / "ours.pub"), cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    (event,) = (tmp_path / "watched/events.jsonl").read_text().splitlines()
    assert (json.loads(event)["state"], json.loads(event)["version"]) == ("leak", "tank 3")


def test_a_tampered_byte_or_another_key_ends_it_before_it_begins(plant: Path, tmp_path: Path) -> None:
    _, other = key_pair(tmp_path, "other")
    whole, clip = (plant / "tank-3.pyz").read_bytes(), str(plant / "a.mp4")
    said = run(plant / "tank-3.pyz", "predict", clip, "--public-key", str(other), cwd=tmp_path)
    assert said.returncode == 2 and not said.stdout and "is not signed with the private key" in said.stderr
    place = whole.index(b'"classes"')
    (tmp_path / "bad.pyz").write_bytes(whole[:place] + b"?" + whole[place + 1 :])
    said = run(tmp_path / "bad.pyz", "predict", clip, cwd=tmp_path)
    assert said.returncode == 2 and not said.stdout and "damaged or was changed" in said.stderr


def test_the_whole_installation_takes_bundles_too(
    plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    bundle, root = str(plant / "tank-3.pyz"), ["--root", str(tmp_path)]
    asked = [*root, "predict", str(plant / "a.mp4"), "--model", bundle]
    assert main([*asked, "--public-key", str(plant / "ours.pub")]) == 0
    assert "leak" in capsys.readouterr().out
    _, other = key_pair(tmp_path, "other")
    assert main([*asked, "--public-key", str(other)]) == 2
    assert main([*root, "verify", bundle]) == 0 and "was not looked at" in capsys.readouterr().out
    monkeypatch.setenv("SLIMSTREAM_PUBLIC_KEY", str(other))
    assert main([*root, "verify", bundle]) == 2
    model = Champion(bundle, Paths(tmp_path), None, None, plant / "ours.pub").model
    assert (model.name, model.tags) == ("tank 3", {"gate": "passed", "macro_f1": "0.91"})


def test_nothing_is_written_over_unasked(
    plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--root", str(tmp_path), "bundle", str(plant / "version"), "--out", str(tmp_path / "a.pyz")]
    assert main(asked) == 0 and "not signed" in capsys.readouterr().out
    before = (tmp_path / "a.pyz").read_bytes()
    assert main(asked) == 2 and "is there already" in capsys.readouterr().err
    assert (tmp_path / "a.pyz").read_bytes() == before and main([*asked, "--force"]) == 0
    assert b"Nothing is recorded of" not in Sealed(tmp_path / "a.pyz").read(CARD)
    assert "a network that was not published" in Sealed(tmp_path / "a.pyz").read(CARD).decode()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"runtime": "openvino"}, "has no form for openvino; it has onnx"),
        ({"wheels": "mips"}, "packages for x86_64 and aarch64"),
        ({"key": Path("gone.pem")}, "private key gone.pem is missing"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(
    plant: Path, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    with pytest.raises(UserError, match=why):
        make_bundle(str(plant / "version"), Paths(tmp_path), tmp_path / "a.pyz", **change)
    with pytest.raises(UserError, match="is a file"):
        make_bundle(str(plant / "tank-3.pyz"), Paths(tmp_path))
    assert not (tmp_path / "a.pyz").exists()


def test_packages_that_are_missing_are_named(plant: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env")
    asked = [tmp_path / "env/bin/python", plant / "tank-3.pyz", "predict", plant / "a.mp4"]
    said = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, env={})
    assert said.returncode == 2 and "is not installed here" in said.stderr, said.stderr
    assert re.search(r"python3 \S*tank-3\.pyz install FOLDER", said.stderr)


@pytest.mark.box
def test_it_runs_in_an_environment_with_nothing_but_its_packages(plant: Path, tmp_path: Path) -> None:
    """The packages are those of this environment, by links; opencv-python stands for the headless one."""
    venv.create(tmp_path / "env")
    (site,) = (tmp_path / "env/lib").glob("python*/site-packages")
    pins = re.findall(
        r"^([\w-]+)==(?!.*win32)", Sealed(plant / "tank-3.pyz").read(LOCK).decode(), re.MULTILINE
    )
    for name in pins:
        found = distribution("opencv-python" if name == "opencv-python-headless" else name)
        for top in {
            file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")
        }:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    shutil.copyfile(plant / "a.mp4", tmp_path / "b.mp4")
    files = [plant / "a.mp4", tmp_path / "b.mp4"]  # two: worker processes start from the bundle, too
    program = [tmp_path / "env/bin/python", plant / "tank-3.pyz"]
    said = subprocess.run([*program, "predict", *files], cwd=tmp_path, capture_output=True, text=True, env={})
    assert said.returncode == 0, said.stderr
    rows = list(csv.DictReader(io.StringIO(said.stdout)))
    assert [row["p_leak"] for row in rows] == [
        str(answer["p_leak"]) for answer in predict(files, plant / "version")
    ]
    asked = [*program, "verify", "--public-key", plant / "ours.pub"]
    assert subprocess.run(asked, cwd=tmp_path, env={}).returncode == 0
    asked = [*program, "watch", *files, "--port", "0"]
    said = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, env={})
    assert said.returncode == 0 and "tank 3 looks at a, b" in said.stderr, said.stderr
