"""A model folder rebuilds the network, or says in one sentence why it cannot."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from slimstream.core.errors import UserError
from slimstream.models.checkpoint import (
    Card,
    load_model,
    load_state,
    save_model,
    save_state,
    weight_hash,
)

CARD = Card(model="line", args={"width": 3}, classes=["a", "b"], input={}, split_hash="abc", params=8, macs=6)


def create(name: str, num_classes: int, *, width: int, pretrained: bool) -> nn.Module:
    assert name == "line" and not pretrained
    return nn.Linear(width, num_classes)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    save_model(tmp_path, model, CARD)
    again, card = load_model(tmp_path, create)
    assert card == CARD
    assert weight_hash(again) == weight_hash(model)


def test_no_pickle_is_written(tmp_path: Path) -> None:
    save_model(tmp_path, nn.Linear(3, 2), CARD)
    assert {path.name for path in tmp_path.iterdir()} == {"model.json", "weights.safetensors"}
    size = int.from_bytes((tmp_path / "weights.safetensors").read_bytes()[:8], "little")
    assert json.loads((tmp_path / "weights.safetensors").read_bytes()[8 : 8 + size])


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path, nn.Linear(4, 2), CARD)
    with pytest.raises(UserError, match=r"weights\.safetensors does not fit"):
        load_model(tmp_path, create)


@pytest.mark.parametrize("pruning", [[], [{"elsewhere": [1]}], [["a", "b"]], {"a": 1}])
def test_pruning_of_another_network_is_refused(tmp_path: Path, pruning: object) -> None:
    save_model(tmp_path, nn.Linear(3, 2), CARD)
    card = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(card | {"pruning": pruning}))
    with pytest.raises(UserError, match=r"model\.json"):
        load_model(tmp_path, create)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no slimstream model"):
        load_model(tmp_path, create)


def test_state_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, {"x": torch.ones(2)}, {"epoch": 1})
    save_state(path, {"x": torch.zeros(2)}, {"epoch": 2})
    tensors, facts = load_state(path)
    assert facts == {"epoch": 2} and tensors["x"].tolist() == [0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]
