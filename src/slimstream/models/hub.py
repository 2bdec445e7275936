"""Networks of timm and torchvision with their ImageNet weights."""

from pathlib import Path
from typing import Any

from torch import nn

from slimstream.core.errors import UserError

Weights = bool | Path
"""False: from scratch. True: ImageNet weights, downloaded once. A path: weights of that safetensors file.

DVC sees only the name of the file, so other weights need another name.
"""

_CLASSIFIERS = ("classifier.", "fc.", "head.", "head_dist.", "last_linear.", "aux", "AuxLogits.")
"""Names of the classifier modules of both libraries."""


def timm_net(name: str, pretrained: Weights, *, num_classes: int = 0, **kwargs: Any) -> Any:
    """Return timm's network `name`, with a classifier only if `num_classes` > 0.

    Raises UserError when the weights cannot be downloaded or the file does not fit.
    """
    import timm

    try:
        net = timm.create_model(name, pretrained=pretrained is True, num_classes=num_classes, **kwargs)
    except OSError as error:  # errors of the hub are OSErrors
        raise _offline(name) from error
    if isinstance(pretrained, Path):
        load_weights(net, pretrained, name)
    return net


def torchvision_net(name: str, pretrained: Weights, **kwargs: Any) -> Any:
    """Return torchvision's network `name` with its classifier. Raises UserError as `timm_net` does."""
    import torchvision

    net = torchvision.models.get_model(name, weights=None, **kwargs)
    if pretrained is True:
        weights = torchvision.models.get_model_weights(name).DEFAULT
        try:
            # weights_only: no code in the file is executed.
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except OSError as error:
            raise _offline(name) from error
        net.load_state_dict({k: v for k, v in state.items() if k in net.state_dict()})
    elif isinstance(pretrained, Path):
        load_weights(net, pretrained, name)
    return net


def load_weights(net: nn.Module, path: Path, name: str) -> None:
    """Load the weights of a safetensors file into `net`, the network `name`.

    The file needs no classifier; a classifier in the file is ignored. Raises UserError when it does not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors":
        raise UserError(f"model_args.pretrained: {path} is not a .safetensors file; no other kind is read.")
    try:
        state = load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"model_args.pretrained: {path} does not exist.") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"model_args.pretrained: {path} is not a safetensors file.") from error
    wanted = {k: v for k, v in net.state_dict().items() if not k.startswith(_CLASSIFIERS)}
    unfit = [k for k, v in wanted.items() if k not in state or state[k].shape != v.shape]
    if unfit:
        raise UserError(
            f"model_args.pretrained: {path} does not hold the weights of {name}: of {len(wanted)} tensors "
            f"{len(unfit)} are missing or of another shape, such as '{unfit[0]}'."
        )
    net.load_state_dict({k: state[k] for k in wanted}, strict=False)


def _offline(name: str) -> UserError:
    return UserError(
        f"The weights of {name} could not be fetched: go online once, name a .safetensors file of them as "
        f"pretrained, or set pretrained: false."
    )
