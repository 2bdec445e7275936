"""Names of the runtimes, for settings and the command line: nothing is imported with them."""

from typing import Literal, get_args

Runtime = Literal["onnx", "openvino", "openvino-bf16", "openvino-int8"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
"""From the plainest to the coarsest: 32-bit floats twice, bfloat16, 8-bit integers."""
