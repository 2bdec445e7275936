"""A slim network, four RGB frames by one stream of Lite0, against the plain two-stream network in ONNX.

The two-stream network sees eight frames and their optical flow. That is what one would deploy who trains a
two-stream network and exports it.
"""

import tempfile
from pathlib import Path

import torch

from benchmarks.clips import FOUR, TWO_STREAMS, surveillance_clips
from benchmarks.compare import Result, compare_times, ratio_result
from benchmarks.diagnosis import CLASSES, deployed, inputs, predicting, slim_network
from benchmarks.inference import call, present, seen
from slimstream.models import create_model
from slimstream.runtimes import REFERENCE, find_runtime

PLAIN = "two streams, ONNX"


def run(source: Path | None = None) -> list[Result]:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = surveillance_clips(root, source)
        both, few = inputs(files, TWO_STREAMS), inputs(files, FOUR)
        plain = seen(create_model("two_stream_efficientnet_lite0", len(CLASSES), pretrained=False), both)
        slim = seen(slim_network(), few)
        theirs = predicting(deployed(plain, both, root / "plain", REFERENCE, TWO_STREAMS), files)
        their_network, their_size = call(root / "plain", REFERENCE, both[0]), megabytes(root / "plain")
        results = []
        for runtime in present():
            out = root / runtime
            ours = predicting(deployed(slim, few, out, runtime, FOUR), files)
            size = megabytes(out, runtime)
            results += [
                compare_times(
                    "slim",
                    (f"file to answer, {runtime}", ours),
                    (PLAIN, theirs),
                    most=0.3,
                    rounds=5,
                    note="4 RGB frames, Lite0; against 8 frames and their flow, Lite0 twice",
                ),
                compare_times(
                    "slim", (f"network, {runtime}", call(out, runtime, few[0])), (PLAIN, their_network)
                ),
                ratio_result(
                    "slim",
                    f"file, {runtime}",
                    PLAIN,
                    [size / their_size],
                    note=f"{size:.1f} of {their_size:.1f} MB",
                ),
            ]
        return results


def megabytes(folder: Path, runtime: str = REFERENCE) -> float:
    """Size of the network's files."""
    return sum(file.stat().st_size for file in find_runtime(runtime).paths(folder)) / 1e6
