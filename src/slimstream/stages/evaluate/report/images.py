"""Pictures that are embedded in the page: contact sheets, flow in colour, heat maps over frames."""

import base64
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""


def jpeg_uri(picture: Picture, quality: int = 82) -> str:
    """`picture` as a JPEG data URI. Raises ValueError when it cannot be encoded."""
    ok, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not ok:
        raise ValueError(f"cannot encode a picture of shape {picture.shape}")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def resize_for_display(picture: Picture, aspect: float, height: int = 200) -> Picture:
    """The picture with the clip's own `aspect` (width / height), which extraction may have changed.

    `height` is in pixels.
    """
    size = (max(1, round(height * aspect)), height)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def rgb_view(frame: npt.NDArray[np.uint8]) -> Picture:
    """The RGB channels of a packed frame (H, W, C), or its grey channel repeated as RGB."""
    return frame[..., :3] if frame.shape[-1] >= 3 else np.repeat(frame, 3, axis=-1)


def contact_sheet(pack: npt.NDArray[np.uint8], aspect: float, count: int = 6) -> list[str]:
    """At most `count` evenly spaced frames of a pack (T, H, W, C) uint8, first to last, as data URIs."""
    from slimstream.runtimes.split_part import spread_indices  # it loads PyTorch

    return [jpeg_uri(resize_for_display(rgb_view(pack[t]), aspect)) for t in spread_indices(len(pack), count)]


def flow_picture(flow: npt.NDArray[np.uint8]) -> Picture:
    """Packed flow (H, W, 2) in colour: hue is the direction, saturation the speed; white is no motion.

    The colour wheel of Baker et al. 2011 (Middlebury). Saturation is full at the frame's 99th percentile.
    """
    x, y = (np.moveaxis(flow, -1, 0).astype(np.float32) - 128) / 127
    speed, angle = np.hypot(x, y), np.arctan2(y, x)
    # At least three quantisation steps: otherwise the noise of a clip without motion would look like motion.
    full = max(float(np.percentile(speed, 99)), 3 / 127)
    hsv = np.stack(
        [(angle % (2 * np.pi)) * 90 / np.pi, np.clip(speed / full, 0, 1) * 255, np.full_like(speed, 255)],
        axis=-1,
    )
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def overlay(picture: Picture, heat: npt.NDArray[Any]) -> Picture:
    """`heat` (h, w) in 0..1, in colour over the picture converted to grey."""
    height, width = picture.shape[:2]
    warm = np.clip(cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    colour = cv2.applyColorMap((warm * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    opacity = 0.75 * warm[..., None]
    return np.asarray(grey * 0.85 * (1 - opacity) + colour * opacity, np.uint8)
