"""Save and load networks: weights as safetensors and a JSON card to rebuild the network. No pickle."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from slimstream.clips.params import NetworkInput
from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.core.schema import parse
from slimstream.models.surgery import rebuild


class Card(BaseModel):
    """Everything needed to rebuild a network, and its origin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """Name in `slimstream.models`."""
    args: dict[str, Any] = {}
    classes: list[str]
    """Class names in the order of the logits."""
    input: dict[str, Any]
    """`NetworkInput` as JSON: how a raw clip becomes the network's input. Older cards have no `reduce`."""
    pruning: Any = None
    """History of `prune_channels`, or None."""
    split_hash: str
    params: int
    macs: int
    """Multiply-accumulates for one clip of the recipe's size and frames."""
    parent: str | None = None
    validation: dict[str, float] = {}
    """Validation metrics from before the head was refitted with the val clips (`stages.refit`)."""

    @property
    def network_input(self) -> NetworkInput:
        """`input`, parsed. Raises UserError when it is not one."""
        return parse(self.input, NetworkInput, "the input in a model.json")


def save_model(folder: Path, model: nn.Module, card: Card) -> None:
    """Write `folder/model.json` and `folder/weights.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(_tensors(model), folder / "weights.safetensors")
    (folder / "model.json").write_text(card.model_dump_json(indent=2) + "\n")


def load_card(folder: Path) -> Card:
    """Read the card of the model in `folder`. Raises UserError when there is none."""
    try:
        return Card.model_validate_json((folder / "model.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} holds no slimstream model: model.json is missing or does not fit."
        ) from error


def load_model(folder: Path, create: Callable[..., nn.Module]) -> tuple[nn.Module, Card]:
    """Load the network in `folder` and its card; `create(name, num_classes, **args)` builds it unpruned.

    The network is in evaluation mode, on the CPU. Raises UserError when the weights or the pruning history do
    not fit the network.
    """
    card = load_card(folder)
    model = create(card.model, len(card.classes), **{**card.args, "pretrained": False})
    try:
        if card.pruning is not None:
            rebuild(model, card.pruning)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{folder}/model.json: what it says was pruned is not in {card.model}; train the model again."
        ) from error
    try:
        model.load_state_dict(load_file(folder / "weights.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder}/weights.safetensors does not fit its model.json; train the model again."
        ) from error
    return model.eval(), card


def weight_hash(model: nn.Module) -> str:
    """Return the SHA-256 of names and bytes of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(_tensors(model).items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def save_state(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and JSON facts atomically to one file."""
    # Clones, because safetensors refuses tensors that share memory.
    clones = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with atomic_write(path) as half:
        _save(clones, half, {"facts": json.dumps(facts)})


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by `save_state`."""
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, json.loads(file.metadata()["facts"])  # noqa: SIM118


def _save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write `tensors` to `path`. Raises OSError with errno, which safetensors only has in its message."""
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        if (number := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
