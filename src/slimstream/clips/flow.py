"""Dense optical flow and its uint8 form.

Flow is the displacement of each pixel from the first picture to the second, in pixels of these pictures, x to
the right and y downwards. As a byte, 128 is no motion, and `256 - q` is exactly the opposite motion of `q`.
"""

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Flow = npt.NDArray[np.float32]
"""(…, 2) float32, x and y in pixels."""
Bytes = npt.NDArray[np.uint8]

ZERO_FLOW, FLOW_STEPS = 128, 127
"""The byte for no motion, and the number of steps from it to the bound."""


def dense_flow(prev: Bytes, next: Bytes, method: Literal["farneback", "dis"]) -> Flow:
    """Return the flow (H, W, 2) from grey picture `prev` to `next`, both (H, W) uint8.

    "farneback" (P2; Farnebäck, "Two-frame motion estimation based on polynomial expansion", 2003) with the
    settings of OpenCV's own example; "dis" (Kroeger et al., "Fast optical flow using dense inverse search",
    2016) at its medium preset is about four times as fast.
    """
    flow: Flow
    if method == "farneback":
        flow = cv2.calcOpticalFlowFarneback(
            prev,
            next,
            None,
            pyr_scale=0.5,
            levels=3,
            winsize=15,
            iterations=3,
            poly_n=5,
            poly_sigma=1.2,
            flags=0,
        )
    else:
        # A new estimator each time, because its buffers must not be shared between threads.
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(prev, next, None)
    return flow


def quantise(flow: Flow, bound: float) -> Bytes:
    """Convert pixels to bytes 1..255: `round(clip(v, ±bound) / bound * 127) + 128`."""
    q = flow * np.float32(FLOW_STEPS / bound)
    np.clip(q, -FLOW_STEPS, FLOW_STEPS, out=q)
    np.rint(q, out=q)
    q += ZERO_FLOW
    return q.astype(np.uint8)


def dequantise(q: Bytes, bound: float) -> Flow:
    """Convert bytes to pixels; the error is at most half a step, `bound / 254`."""
    return (q.astype(np.float32) - ZERO_FLOW) * np.float32(bound / FLOW_STEPS)


def saturation(q: Bytes) -> float:
    """Share (0..1) of values at the bound, where the motion was faster. 0 without flow."""
    if not q.size:
        return 0.0
    return float(np.mean((q == ZERO_FLOW - FLOW_STEPS) | (q == ZERO_FLOW + FLOW_STEPS)))
