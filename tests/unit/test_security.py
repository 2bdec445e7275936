"""What comes from outside cannot run code here, read files beside the source, or carry secrets into the log.

More of it is tested where it belongs: links and tables (data/test_sources.py, data/test_listing.py), weights
of a file (models/test_backbones.py), passwords, Host and Origin (flows/test_services.py).
"""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from slimstream.catalog.listing import FileStat, label_files
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.datasets.dataset import ClipDataset
from slimstream.models.checkpoint import Card, load_model, load_state, save_model
from slimstream.pipeline.params import load_params
from slimstream.registry import artifacts
from slimstream.runtimes.onnx import OnnxModel
from slimstream.stages.ingest.scan import read_lock
from slimstream.stages.ingest.sources import FolderSource


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.mark}'",)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "a pickle was read"


def test_the_bomb_works(mark: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(mark)))  # noqa: S301 - our own
    assert mark.exists()


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_is_no_network(tmp_path: Path, mark: Path, how: str) -> None:
    card = Card(model="line", classes=["a", "b"], input={}, split_hash="x", params=8, macs=6)
    save_model(tmp_path, nn.Linear(3, 2), card)
    file = tmp_path / "weights.safetensors"
    if how == "pickle":
        file.write_bytes(pickle.dumps({"weight": Bomb(mark)}))
    else:
        torch.save({"weight": Bomb(mark)}, file)
    with pytest.raises(UserError, match=r"weights\.safetensors does not fit"):
        load_model(tmp_path, lambda name, classes, **args: nn.Linear(3, classes))
    with pytest.raises(Exception, match="header"):
        load_state(file)
    with pytest.raises(UserError, match="is not a network"):
        OnnxModel(file)
    assert not mark.exists()


def test_a_pickle_is_no_pack(tmp_path: Path, mark: Path) -> None:
    row = {"id": "a", "clip": 0, "file": "a.npy", "first": 0, "frames": 1, "dropped": 0, "seconds": 1.0}
    pd.DataFrame([row]).to_parquet(tmp_path / "index.parquet")
    np.save(tmp_path / "a.npy", np.array([Bomb(mark)], object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        ClipDataset(tmp_path, ["a"], [0]).all_frames(0)
    (tmp_path / "a.npy").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(ValueError, match="pickle"):
        ClipDataset(tmp_path, ["a"], [0]).all_frames(0)
    assert not mark.exists()


def test_a_network_cannot_read_files_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx import TensorProto, helper

    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(bytes(16))
    weight = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    place = weight.external_data.add()
    place.key, place.value = "location", "secret"
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("clip", TensorProto.UINT8, [1])],
        [helper.make_tensor_value_info("logits", 1, [4])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (tmp_path / "network.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="is not a network"):
        OnnxModel(tmp_path / "network.onnx")


def test_a_pickle_in_the_registry_is_not_asked(
    tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write to the registry may still log code; but none hides in what looks like data."""
    import mlflow
    from mlflow.pyfunc import PythonModel

    class Model(PythonModel, Bomb):  # type: ignore[misc]
        def predict(self, context: Any, model_input: list[str]) -> list[str]:
            return model_input

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")  # as a careless caller may have it
    with artifacts._use_store(uri):
        mlflow.create_experiment("x", artifact_location=(tmp_path / "artifacts").as_uri())
        mlflow.set_experiment("x")
        with mlflow.start_run():
            mlflow.pyfunc.log_model(
                name="m", python_model=Model(mark), registered_model_name="m", pip_requirements=["mlflow"]
            )
    assert list((tmp_path / "artifacts").rglob("*.pkl"))
    with pytest.raises(RuntimeError, match="MLFLOW_ALLOW_PICKLE_DESERIALIZATION"):
        artifacts.score_clips(uri, ["models:/m/1"], [])
    assert not mark.exists()


def test_keys_of_a_bucket_do_not_leave_it(tmp_path: Path) -> None:
    keys = ["on/1.mp4", "../2.mp4", "on/../../3.mp4"]
    listing = label_files({key: FileStat(1, "x") for key in keys}, None, "s3://bucket")
    assert [item.key for item in listing.items] == ["on/1.mp4"]
    assert set(listing.rejected.values()) == {"the path leaves the source"}
    lock = tmp_path / "source.lock.json"
    entry = {"key": "on/1.mp4", "label": "on", "size": 1, "etag": "x"}
    for key, good in (("on/1.mp4", True), ("on/../../other/1.mp4", False)):
        content = {"source": "s3://bucket/a", "items": [entry | {"key": key}], "rejected": []}
        lock.write_text(json.dumps(content))
        if good:
            read_lock(lock)
        else:
            with pytest.raises(UserError, match="cannot be read"):
                read_lock(lock)


def test_the_table_itself_cannot_be_a_link_out(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("hidden words\n")
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "1.mp4").touch()
    (folder / "metadata.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(UserError, match="a link that leaves the source") as refusal:
        FolderSource(str(folder), Path()).list()
    assert "hidden" not in str(refusal.value)


@pytest.mark.parametrize(
    "line",
    [
        "source: s3://key:word@bucket/x",
        "source: s3://key:wo/rd@bucket/x",
        "source: s3://bucket/x?X-Amz-Signature=word",
        "endpoint_url: http://key:word@plant.example:8333",
    ],
)
def test_credentials_in_an_address_never_reach_a_log(tmp_path: Path, line: str) -> None:
    paths = Paths(tmp_path)
    paths.params.write_text(f"ingest:\n  {line}\n")
    with pytest.raises(UserError, match="belong in the environment") as refusal:
        load_params(paths.params)
    assert "word" not in str(refusal.value)
