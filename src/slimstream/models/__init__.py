"""Networks by name: clip (B, T, C, H, W), uint8 or float in 0..255, to logits (B, classes)."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, cast

from pydantic import ValidationError, validate_call
from torch import nn

from slimstream.errors import UserError
from slimstream.models.c3d import c3d
from slimstream.models.classifier import Classifier
from slimstream.models.efficientnet import frozen_efficientnet_lite0, two_stream_efficientnet_lite0
from slimstream.models.i3d import i3d
from slimstream.models.mobilevit import two_stream_mobilevit
from slimstream.models.mobilevit_3d import mobilevit_3d
from slimstream.models.per_frame import per_frame_cnn
from slimstream.models.swin_c import two_stream_swin_c
from slimstream.models.tsn import tsn

MODELS: dict[str, Callable[..., Classifier]] = {
    "two_stream_mobilevit": two_stream_mobilevit,
    "two_stream_efficientnet_lite0": two_stream_efficientnet_lite0,
    "frozen_efficientnet_lite0": frozen_efficientnet_lite0,
    "mobilevit_3d": mobilevit_3d,
    "two_stream_swin_c": two_stream_swin_c,
    "c3d": c3d,
    "i3d": i3d,
    "tsn": tsn,
    "per_frame_cnn": per_frame_cnn,
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


def check_channels(model: nn.Module, channels: int) -> None:
    """Raise UserError when `model`, one of `create_model`, takes no clips of so many `channels`."""
    accepted = cast(Classifier, model).channels
    if channels not in accepted:
        wanted = " or ".join(f"{CLIPS[c]} ({c} channels)" for c in sorted(accepted))
        raise UserError(
            f"params.yaml: train.model takes {wanted}, but the packs hold {CLIPS[channels]} ({channels}); "
            "choose a model that fits (`python -m slimstream models`) or extract again."
        )
