"""Networks by name: clip (B, T, C, H, W), uint8 or float in 0..255, to logits (B, classes).

C is one of the network's `channels`: 5 (r, g, b, flow x, flow y), 3 (r, g, b), 2 (flow x, y) or 1 (grey).
"""

import copy
import json
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from inspect import Parameter, signature
from typing import Any, Literal, cast, get_args

import torch
from pydantic import ValidationError, validate_call
from torch import nn

from slimstream.core.errors import UserError
from slimstream.models.base import Classifier
from slimstream.models.frozen.cnn_features import cnn_features_knn, cnn_features_knn_svm, cnn_features_svm
from slimstream.models.frozen.frozen_frames import frozen_frames_lite0
from slimstream.models.pictures.canny import canny_cnn
from slimstream.models.pictures.light_residual import (
    light_residual_net,
    light_residual_net_bottleneck,
    light_residual_net_small,
)
from slimstream.models.pictures.shufflenet import shufflenet_v2
from slimstream.models.pictures.vgg_resnet import resnet18, vgg16, vgg19
from slimstream.models.two_stream.cnn_m import two_stream_cnn_m
from slimstream.models.two_stream.efficientnet import (
    frozen_efficientnet_lite0,
    two_stream_efficientnet,
    two_stream_efficientnet_lite0,
)
from slimstream.models.two_stream.efficientnetv2 import (
    two_stream_dilated_efficientnetv2,
    two_stream_efficientnetv2,
)
from slimstream.models.two_stream.inception import two_stream_inception
from slimstream.models.two_stream.lstm import two_stream_lstm
from slimstream.models.two_stream.mobilenet import two_stream_mobilenet
from slimstream.models.two_stream.mobilevit import two_stream_mobilevit
from slimstream.models.two_stream.resnet import two_stream_resnet, two_stream_resnet_rs
from slimstream.models.two_stream.shufflenet import two_stream_shufflenet, two_stream_shufflenet_v1
from slimstream.models.two_stream.squeezenet import two_stream_squeezenet
from slimstream.models.two_stream.vit import two_stream_vit
from slimstream.models.video.c3d import c3d, two_stream_c3d
from slimstream.models.video.efficientnet_frames import efficientnet_frames
from slimstream.models.video.i3d import i3d, two_stream_i3d
from slimstream.models.video.mobilevit_3d import mobilevit_3d
from slimstream.models.video.per_frame import per_frame_cnn
from slimstream.models.video.swin_c import two_stream_swin_c
from slimstream.models.video.tsn import tsn

MODELS: dict[str, Callable[..., Classifier]] = {
    "two_stream_mobilevit": two_stream_mobilevit,
    "mobilevit_3d": mobilevit_3d,
    "two_stream_swin_c": two_stream_swin_c,
    "c3d": c3d,
    "two_stream_c3d": two_stream_c3d,
    "i3d": i3d,
    "two_stream_i3d": two_stream_i3d,
    "tsn": tsn,
    "per_frame_cnn": per_frame_cnn,
    "two_stream_efficientnet_lite0": two_stream_efficientnet_lite0,
    "efficientnet_frames": efficientnet_frames,
    "two_stream_mobilenet": two_stream_mobilenet,
    "two_stream_shufflenet": two_stream_shufflenet,
    "two_stream_shufflenet_v1": two_stream_shufflenet_v1,
    "two_stream_squeezenet": two_stream_squeezenet,
    "two_stream_vit": two_stream_vit,
    "two_stream_cnn_m": two_stream_cnn_m,
    "two_stream_lstm": two_stream_lstm,
    "two_stream_resnet": two_stream_resnet,
    "two_stream_resnet_rs": two_stream_resnet_rs,
    "two_stream_inception": two_stream_inception,
    "two_stream_efficientnet": two_stream_efficientnet,
    "two_stream_efficientnetv2": two_stream_efficientnetv2,
    "two_stream_dilated_efficientnetv2": two_stream_dilated_efficientnetv2,
    "frozen_efficientnet_lite0": frozen_efficientnet_lite0,
    "cnn_features_svm": cnn_features_svm,
    "cnn_features_knn": cnn_features_knn,
    "cnn_features_knn_svm": cnn_features_knn_svm,
    "frozen_frames_lite0": frozen_frames_lite0,
    "light_residual_net": light_residual_net,
    "light_residual_net_small": light_residual_net_small,
    "light_residual_net_bottleneck": light_residual_net_bottleneck,
    "shufflenet_v2": shufflenet_v2,
    "canny_cnn": canny_cnn,
    "vgg16": vgg16,
    "vgg19": vgg19,
    "resnet18": resnet18,
}

CLIPS = {1: "grey pictures", 2: "optical flow", 3: "RGB pictures", 5: "RGB pictures with optical flow"}
"""Number of channels → their content."""


def create_model(name: str, num_classes: int, **kwargs: Any) -> Classifier:
    """Build the network `name` for `num_classes` ≥ 2 classes. `kwargs` are passed to its factory.

    Raises UserError for an unknown name or a setting the network does not take.
    """
    if name not in MODELS:
        near = get_close_matches(name, MODELS) or [known for known in MODELS if name and name in known]
        hint = f"did you mean {_either(near)}?" if near else f"known: {', '.join(MODELS)}."
        raise UserError(f"There is no model '{name}'; {hint}")
    try:
        return validate_call(MODELS[name])(num_classes, **kwargs)
    except ValidationError as error:
        first = error.errors()[0]
        setting = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            known = model_settings(name)
            near = get_close_matches(setting, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
            raise UserError(f"Model '{name}' has no setting '{setting}'; {hint}") from error
        label = "num_classes" if first["loc"][:1] == (0,) else setting
        raise UserError(f"Model '{name}', setting '{label}': {first['msg']}.") from error


def build_on_meta(name: str, args: dict[str, Any]) -> Classifier:
    """Build the network `name` without weights on the meta device, to check its settings quickly.

    Nothing is computed or downloaded. A file of weights is compared with the network. The same settings give
    the same object, because every stage asks for it in turn: do not change it. Raises UserError.
    """
    if name in MODELS and has_pretrained(name) and args.get("pretrained", True) is True:
        args = {**args, "pretrained": False}
    if args.get("pretrained"):  # a file, which may be another one by the next call
        return _on_meta(name, args)
    return _known_on_meta(name, json.dumps(args, sort_keys=True, default=str))


def _on_meta(name: str, args: dict[str, Any]) -> Classifier:
    with torch.device("meta"):
        return create_model(name, 2, **args)


@lru_cache(maxsize=64)
def _known_on_meta(name: str, args: str) -> Classifier:
    return _on_meta(name, json.loads(args))


def build_zeroed(name: str, args: dict[str, Any]) -> Classifier:
    """Build the network `name` on the CPU with all weights 0. It can be run to find shapes."""
    model = copy.deepcopy(build_on_meta(name, args)).to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    return model


def _either(names: Sequence[str]) -> str:
    *others, last = (f"'{name}'" for name in names)
    return f"{', '.join(others)} or {last}" if others else last


def model_settings(name: str) -> list[str]:
    """Return the names of the settings of the network `name`, without the number of classes."""
    found: list[str] = []
    for parameter in list(signature(MODELS[name]).parameters.values())[1:]:
        if parameter.kind is Parameter.VAR_KEYWORD:
            (shared,) = get_args(parameter.annotation)  # Unpack[a TypedDict]
            found += shared.__annotations__
        else:
            found.append(parameter.name)
    return found


def has_pretrained(name: str) -> bool:
    """Return True when ImageNet weights exist for the network `name`."""
    return signature(MODELS[name]).parameters["pretrained"].annotation != Literal[False]


def with_pretrained(name: str, args: dict[str, Any]) -> dict[str, Any]:
    """Return `args` with the value of `pretrained` added, also when it is the default, for the card."""
    return {"pretrained": signature(MODELS[name]).parameters["pretrained"].default, **args}


def without_defaults(name: str, args: dict[str, Any]) -> dict[str, Any]:
    """Return `args` without those that have the default value, so that equal settings compare equal."""
    defaults = {key: parameter.default for key, parameter in signature(MODELS[name]).parameters.items()}
    return {key: value for key, value in args.items() if key not in defaults or defaults[key] != value}


def check_channels(model: nn.Module, channels: int, section: str = "train") -> None:
    """Raise UserError when `model`, named in `section` of params.yaml, does not take `channels` channels."""
    accepted = cast(Classifier, model).channels
    if channels not in accepted:
        wanted = " or ".join(f"{CLIPS[c]} ({c} channels)" for c in sorted(accepted))
        raise UserError(
            f"params.yaml: {section}.model takes {wanted}, but extract makes {CLIPS[channels]} ({channels}); "
            "choose a model that fits (`python -m slimstream models`) or change extract."
        )
