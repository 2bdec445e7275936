"""Networks that take long to build, prune, convert or run: most tests leave them to `make test-all`."""

from collections.abc import Iterable
from typing import Any

import pytest

LARGE = {
    "c3d",
    "i3d",
    "mobilevit_3d",
    "tsn",
    "two_stream_c3d",
    "two_stream_dilated_efficientnetv2",
    "two_stream_efficientnet",
    "two_stream_efficientnetv2",
    "two_stream_i3d",
    "two_stream_inception",
    "two_stream_lstm",
    "two_stream_mobilenet",
    "two_stream_resnet",
    "two_stream_resnet_rs",
    "two_stream_shufflenet",
    "two_stream_swin_c",
    "two_stream_vit",
    "vgg16",
    "vgg19",
}


def mark_large(cases: Iterable[Any]) -> list[Any]:
    """Mark each case, a name or a tuple that begins with one, as `box` when its network is large."""
    rows = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*row, marks=[pytest.mark.box] if row[0] in LARGE else []) for row in rows]
