"""Networks by name: clip (B, T, C, H, W), uint8 or float in 0..255, to logits (B, classes).

C is one of the network's `channels`: 5 (r, g, b, flow x, flow y), 3 (r, g, b) or 1 (grey).
"""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, cast

from pydantic import ValidationError, validate_call
from torch import nn

from slimstream.errors import UserError
from slimstream.models.c3d import c3d
from slimstream.models.classifier import Classifier
from slimstream.models.efficientnet import frozen_efficientnet_lite0, two_stream_efficientnet_lite0
from slimstream.models.frozen_frames import frozen_frames_lite0
from slimstream.models.i3d import i3d
from slimstream.models.light_residual import light_residual_net, light_residual_net_small
from slimstream.models.mobilevit import two_stream_mobilevit
from slimstream.models.mobilevit_3d import mobilevit_3d
from slimstream.models.per_frame import per_frame_cnn
from slimstream.models.swin_c import two_stream_swin_c
from slimstream.models.teachers import resnet18, vgg16, vgg19
from slimstream.models.tsn import tsn

MODELS: dict[str, Callable[..., Classifier]] = {
    "two_stream_mobilevit": two_stream_mobilevit,
    "mobilevit_3d": mobilevit_3d,
    "two_stream_swin_c": two_stream_swin_c,
    "c3d": c3d,
    "i3d": i3d,
    "tsn": tsn,
    "per_frame_cnn": per_frame_cnn,
    "two_stream_efficientnet_lite0": two_stream_efficientnet_lite0,
    "frozen_efficientnet_lite0": frozen_efficientnet_lite0,
    "frozen_frames_lite0": frozen_frames_lite0,
    "light_residual_net": light_residual_net,
    "light_residual_net_small": light_residual_net_small,
    "vgg16": vgg16,
    "vgg19": vgg19,
    "resnet18": resnet18,
}

CLIPS = {1: "grey pictures", 3: "RGB pictures", 5: "RGB pictures with optical flow"}
"""What a clip of so many channels holds."""


def create_model(name: str, num_classes: int, **kwargs: Any) -> Classifier:
    """Build the network `name` for `num_classes` ≥ 2; `kwargs` are its factory's.

    Raises UserError for an unknown name or a setting the network does not take.
    """
    if name not in MODELS:
        near = get_close_matches(name, MODELS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(MODELS)}."
        raise UserError(f"There is no model '{name}'; {hint}")
    try:
        return validate_call(MODELS[name])(num_classes, **kwargs)
    except ValidationError as error:
        first = error.errors()[0]
        setting = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "unexpected_keyword_argument":
            known = list(MODELS[name].__annotations__)[1:-1]
            near = get_close_matches(setting, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
            raise UserError(f"Model '{name}' has no setting '{setting}'; {hint}") from error
        label = "num_classes" if first["loc"][:1] == (0,) else setting
        raise UserError(f"Model '{name}', setting '{label}': {first['msg']}.") from error


def check_channels(model: nn.Module, channels: int, section: str = "train") -> None:
    """UserError when `model`, which `section` of params.yaml names, takes no clips of so many `channels`."""
    accepted = cast(Classifier, model).channels
    if channels not in accepted:
        wanted = " or ".join(f"{CLIPS[c]} ({c} channels)" for c in sorted(accepted))
        raise UserError(
            f"params.yaml: {section}.model takes {wanted}, but extract makes {CLIPS[channels]} ({channels}); "
            "choose a model that fits (`python -m slimstream models`) or change extract."
        )
