"""A trained model answers for `predict` before it was exported."""

import shutil
from pathlib import Path

import pytest
import torch

from slimstream.clips.packs import pack_clip
from slimstream.clips.params import NetworkInput, Reduction
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.models import create_model
from slimstream.models.checkpoint import Card, load_model, save_model
from slimstream.runtimes.base import read_forms
from slimstream.serving.predict import deployed_model, predict
from slimstream.serving.trained import deploy
from tests.unit.clips.rendered_clips import texture, write_picture


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    sees = NetworkInput(frames=1, size=(48, 48), flow="none", grey=True, reduce=Reduction(size=(32, 32)))
    card = Card(
        model="light_residual_net_small",
        classes=["leak", "ok"],
        input=sees.model_dump(mode="json"),
        split_hash="",
        params=0,
        macs=0,
    )
    folder = tmp_path / "models/baseline"
    save_model(folder, create_model(card.model, 2).eval(), card)
    return folder


def test_it_says_what_the_network_says(trained: Path, tmp_path: Path) -> None:
    files = [write_picture(tmp_path / f"fresh/{n}.png", texture(64, n)) for n in range(3)]
    before = sorted(path.name for path in trained.iterdir())
    deployed = deployed_model(str(trained), Paths(tmp_path))
    said = predict(files, deployed, workers=1)
    network, card = load_model(trained, create_model)
    clips = torch.stack(
        [torch.from_numpy(pack_clip(file, card.network_input).clips[0].copy()) for file in files]
    )
    with torch.inference_mode():
        wanted = network(clips.permute(0, 1, 4, 2, 3)).softmax(1)[:, 0]
    assert torch.tensor([answer["p_leak"] for answer in said]).allclose(wanted, atol=1e-4)
    assert read_forms(deployed)[0].runtime == "onnx" and not any(answer["error"] for answer in said)
    assert sorted(path.name for path in trained.iterdir()) == before, "an output of DVC is left as it is"


def test_two_processes_may_export_it_at_once(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one ends while this one exports."""
    monkeypatch.setattr("slimstream.serving.trained._export", lambda model, made: write(made, "other"))
    other = deploy(trained, tmp_path / "other")

    def export(model: Path, made: Path) -> None:
        write(made, "this")
        shutil.copytree(other, tmp_path / "cache" / other.name)

    monkeypatch.setattr("slimstream.serving.trained._export", export)
    assert (deploy(trained, tmp_path / "cache") / "network.onnx").read_text() == "other"
    monkeypatch.setattr("slimstream.serving.trained._export", lambda model, made: None)
    with pytest.raises(FileNotFoundError):
        deploy(trained, tmp_path / "third")


def write(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "network.onnx").write_text(text)


def test_it_is_exported_once_until_it_is_trained_again(trained: Path, tmp_path: Path) -> None:
    one, same = (deployed_model(str(trained), Paths(tmp_path)) for _ in range(2))
    network, card = load_model(trained, create_model)
    save_model(trained, network, card.model_copy(update={"split_hash": "new"}))
    assert one == same != deployed_model(str(trained), Paths(tmp_path))
    (trained / "weights.safetensors").write_bytes(b"no network")
    with pytest.raises(UserError, match="weights"):
        deployed_model(str(trained), Paths(tmp_path))
