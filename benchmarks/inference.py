"""Inference of one clip on one thread: deployed forms against eager PyTorch, pruned against original."""

import copy
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.compare import Call, Result, compare_times
from slimstream.models import create_model
from slimstream.models.cost import count_params
from slimstream.runtimes import RUNTIMES, find_runtime, open_network
from slimstream.runtimes.export import export
from slimstream.runtimes.openvino import import_openvino
from slimstream.stages.prune.pruning import prune_channels, recalibrate_batch_norm

FRAMES, SIDE = 10, 224
SMALL = 2.13e6
"""Parameters of P1's pruned network."""
HIDDEN = ["head", "*.conv_pwl"]
"""Layers that keep their channels, so that only the hidden channels of EfficientNet's blocks are pruned."""
ROUNDS = 9


def run() -> list[Result]:
    torch.manual_seed(0)
    clips = [noise(FRAMES, 5, SIDE) for _ in range(4)]
    pictures = [noise(1, 1, 50) for _ in range(8)]
    mobile = seen(create_model("two_stream_mobilevit", 3), clips)
    lite = seen(create_model("two_stream_efficientnet_lite0", 3, pretrained=False), clips)
    light = seen(create_model("light_residual_net_small", 2), pictures)
    cuts: dict[str, tuple[nn.Module, dict[str, Any], float]] = {
        "MobileViT pair to 2.13 M": (mobile, {"target_params": SMALL / count_params(mobile)}, 0.65),
        "MobileViT pair at rate 0.5": (mobile, {"rate": 0.5}, 0.5),
        "Lite0 pair at rate 0.5, hidden channels": (lite, {"rate": 0.5, "leave": HIDDEN}, 0.5),
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for net, seen_by in ((mobile, clips), (lite, clips), (light, pictures)):
            export(net, seen_by, root / str(id(net)), list(RUNTIMES))
        results = forms("two-stream MobileViT", mobile, root / str(id(mobile)), clips[0])
        results += forms("light residual net, small", light, root / str(id(light)), pictures[0])
        results.append(wrapper(root / str(id(mobile)), clips[0]))
        for what, (original, how, most) in cuts.items():
            small = pruned(original, clips, **how)
            export(small, clips, root / what, list(RUNTIMES))
            count = f"{count_params(small) / 1e6:.2f} M of {count_params(original) / 1e6:.2f} M"
            for runtime in present():
                results.append(
                    compare_times(
                        "compression",
                        (what, call(root / what, runtime, clips[0])),
                        ("original", call(root / str(id(original)), runtime, clips[0])),
                        most=most,
                        rounds=ROUNDS,
                        note=f"{runtime}; {count}",
                    )
                )
    return results


def forms(what: str, model: nn.Module, folder: Path, clip: np.ndarray) -> list[Result]:
    """Each deployed form against eager PyTorch, after a check that their outputs agree."""
    shown = torch.from_numpy(clip)

    @torch.inference_mode()
    def eager() -> np.ndarray:
        return model(shown).numpy()

    results = []
    for runtime in present():
        deployed = call(folder, runtime, clip)
        off = np.abs(np.asarray(deployed()) - eager()).max()
        assert off < (1e-3 if find_runtime(runtime).exact else 0.5), (what, runtime, off)
        results.append(
            compare_times(
                "inference",
                (runtime, deployed),
                ("eager PyTorch", eager),
                most=1 / 2.5,
                rounds=ROUNDS,
                note=what,
            )
        )
    return results


def wrapper(folder: Path, clip: np.ndarray) -> Result:
    """Our call against OpenVINO as in its own benchmark: fixed shape, one request, no wrapper."""
    core = import_openvino().Core()
    graph = core.read_model(find_runtime("openvino").paths(folder)[0])
    graph.reshape(list(clip.shape))
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(graph, "CPU", settings).create_infer_request()
    request.set_input_tensor(import_openvino().Tensor(clip))
    ours = call(folder, "openvino", clip)
    assert np.abs(np.asarray(ours()) - request.infer()[0]).max() < 1e-5
    return compare_times(
        "inference",
        ("openvino", ours),
        ("bare runtime, fixed shape", request.infer),
        rounds=ROUNDS,
        note="two-stream MobileViT",
    )


def call(folder: Path, runtime: str, clip: np.ndarray) -> Call:
    """A function that computes `clip` with the network exported to `folder`."""
    return partial(open_network(folder, runtime), clip)


def present() -> list[str]:
    """Names of the runtimes that this machine supports."""
    return [name for name, runtime in RUNTIMES.items() if not runtime.missing()]


def noise(frames: int, channels: int, side: int) -> np.ndarray:
    """A random clip (1, T, C, H, W) uint8 of large patches."""
    coarse = torch.randint(0, 256, (frames, channels, 7, 7), dtype=torch.uint8)
    return nn.functional.interpolate(coarse, side)[None].numpy()


def seen(model: nn.Module, clips: list[np.ndarray]) -> nn.Module:
    """`model` with batch norm calibrated on `clips`; without it all clips would give the same output."""
    recalibrate_batch_norm(model, map(torch.from_numpy, clips))
    return model.eval()


def pruned(model: nn.Module, clips: list[np.ndarray], **how: Any) -> nn.Module:
    """A copy of `model`, pruned with the settings `how` and calibrated on `clips`."""
    net = copy.deepcopy(model)
    prune_channels(net, torch.from_numpy(clips[0]), round_to=8, **how)
    return seen(net, clips)
