"""Networks of timm's, whose hub has weights of them."""

from typing import Any

from slimstream.errors import UserError


def timm_net(name: str, pretrained: bool, **kwargs: Any) -> Any:
    """Build timm's network `name`; UserError when its weights are wanted and cannot be fetched."""
    import timm

    try:
        return timm.create_model(name, pretrained=pretrained, **kwargs)
    except OSError as error:  # the hub's errors are OSErrors; without weights nothing is read
        raise UserError(
            f"The weights of {name} could not be fetched: go online once or set pretrained: false."
        ) from error
