import copy
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from slimstream.core.errors import UserError
from slimstream.models import create_model
from slimstream.runtimes import open_network, openvino_int8
from slimstream.runtimes.export import export
from slimstream.runtimes.onnx import OnnxModel, export_onnx
from slimstream.runtimes.openvino import import_openvino
from slimstream.runtimes.same_body import have_same_layers
from slimstream.stages.prune.pruning import prune_channels, recalibrate_batch_norm
from tests.unit.models.large import mark_large

torch.set_num_threads(1)


def patches(batch: int, frames: int, channels: int, side: int) -> Tensor:
    """Clips of few large patches: fine noise would look the same to a network that averages."""
    coarse = torch.randint(0, 256, (batch * frames, channels, 5, 5), dtype=torch.uint8)
    return F.interpolate(coarse, side).unflatten(0, (batch, frames))


@pytest.mark.parametrize(
    ("name", "kwargs", "side", "pruned"),
    mark_large(
        [
            ("two_stream_mobilevit", {}, 64, False),
            ("two_stream_mobilevit", {"shared": True, "shortcut": False, "pool": "mean_std"}, 96, True),
            ("two_stream_efficientnet_lite0", {"pretrained": False}, 64, True),
            ("two_stream_efficientnet_lite0", {"pretrained": False, "head": "cosine"}, 64, True),
            ("efficientnet_frames", {"pretrained": False, "depth": 5}, 64, True),
            ("efficientnet_frames", {"pretrained": False, "depth": 3, "stream": "flow"}, 64, False),
            ("light_residual_net_small", {}, 50, True),
            ("light_residual_net_bottleneck", {}, 50, True),
            ("shufflenet_v2", {}, 50, True),
            ("canny_cnn", {}, 50, True),
            ("resnet18", {}, 50, False),
            ("vgg16", {}, 50, False),
            ("two_stream_mobilenet", {"fusion": "average", "pool": "mean_std"}, 64, True),
            ("two_stream_shufflenet", {"fusion": "fc"}, 64, True),
            ("two_stream_shufflenet_v1", {}, 64, False),
            ("two_stream_squeezenet", {}, 64, False),
            ("two_stream_vit", {}, 64, True),
            ("two_stream_cnn_m", {"width": 0.125, "flow_channels": 2}, 64, False),
            ("two_stream_lstm", {"backbone": "mobilenet", "hidden": 32}, 64, True),
            ("two_stream_resnet", {"shared": True}, 64, False),
            ("two_stream_inception", {}, 64, False),
            ("two_stream_dilated_efficientnetv2", {"fusion": "conv", "position": "mbconv4"}, 64, True),
            ("mobilevit_3d", {}, 96, True),
            ("two_stream_swin_c", {"width": 24}, 64, False),
            ("c3d", {"width": 0.125}, 64, True),
            ("two_stream_i3d", {}, 64, False),
            ("two_stream_c3d", {"width": 0.125}, 64, True),
            ("tsn", {}, 64, False),
            ("per_frame_cnn", {"width": 0.125}, 64, False),
        ]
    ),
)
def test_the_deployed_form_judges_alike_at_any_length(
    tmp_path: Path, name: str, kwargs: dict[str, object], side: int, pruned: bool
) -> None:
    torch.manual_seed(0)
    model = create_model(name, 3, **kwargs)
    picture = (max(model.channels), side)
    clip = patches(1, 1, *picture)
    recalibrate_batch_norm(
        model, [patches(2, 2, *picture) for _ in range(3)]
    )  # fresh, it would see next to nothing
    if pruned:
        prune_channels(model, clip, rate=0.4)
    path = tmp_path / "répertoire" / "network.onnx"
    export_onnx(model, clip, path)
    assert model.training
    assert [p.name for p in path.parent.iterdir()] == ["network.onnx"]

    deployed = OnnxModel(path)
    for batch, frames in ((1, 1), (1, 3), (2, 2), (3, 5)):
        clip = patches(batch, frames, *picture)
        with torch.no_grad():
            expected = model.eval()(clip)
        logits = deployed(clip.numpy())
        assert logits.dtype == np.float32
        difference = torch.from_numpy(logits).softmax(1) - expected.softmax(1)
        assert difference.abs().max() < 2e-5
    assert expected.std(0).max() > 1e-4  # the clips do differ


def test_a_file_that_is_no_network_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("no")
    for name in ("a.onnx", "missing.onnx"):
        with pytest.raises(UserError, match=name):
            OnnxModel(tmp_path / name)


def test_clips_of_all_lengths_are_judged_whatever_was_compiled(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("two_stream_efficientnet_lite0", 3, pretrained=False)
    recalibrate_batch_norm(model, [patches(2, 2, 5, 64) for _ in range(3)])
    export(model, [patches(1, 2, 5, 64).numpy()], tmp_path, ["openvino"])
    deployed = open_network(tmp_path, "openvino", threads=2)
    clips = [patches(1, frames, 5, 64) for frames in (1, 2, 3, 4, 5, 2, 5)]
    with torch.no_grad():
        expected = [model.eval()(clip)[0].numpy() for clip in clips]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda clip: deployed(clip.numpy())[0], clips))
    assert np.abs(np.stack(answers) - np.stack(expected)).max() < 1e-4


_CROWD = """
import sys, threading
sys.setswitchinterval(1e-6)  # with the usual one threads seldom meet at the wrong moment
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from slimstream.runtimes import open_network

clips = [np.random.default_rng(i).integers(0, 256, (1, 1 + i // 4, 5, 64, 64), np.uint8) for i in range(6)]
found = []
with ThreadPoolExecutor(len(clips)) as pool:
    for how in ({"at_once": 4}, {"threads": 2}, {"threads": 2, "at_once": 2}):
        deployed = open_network(Path(sys.argv[1]), "openvino", **how)
        together = threading.Barrier(len(clips))

        def ask(clip):
            together.wait()
            return [deployed(clip) for _ in range(3)]

        found.append(list(pool.map(ask, clips)))
alone = open_network(Path(sys.argv[1]), "openvino")  # last: whoever asks first is what this is about
for answers in found:
    for clip, said in zip(clips, answers, strict=True):
        assert np.abs(np.stack(said) - alone(clip)).max() < 1e-4
"""


@pytest.mark.box  # a process of its own, and a network that is not small
def test_many_threads_may_be_the_first_to_ask(tmp_path: Path) -> None:
    torch.manual_seed(0)
    # Not a smaller one: compiled at once, it lets threads seldom meet, and no lock would be missed.
    model = create_model("two_stream_efficientnet_lite0", 3, pretrained=False)
    recalibrate_batch_norm(model, [patches(2, 2, 5, 64) for _ in range(3)])
    export(model, [patches(1, 2, 5, 64).numpy()], tmp_path, ["openvino"])
    source = Path(__file__).parents[3] / "src"
    # A process of its own: where threads wait for each other for ever, this one would wait with them.
    subprocess.run(
        [sys.executable, "-c", _CROWD, str(tmp_path)],
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(source)},
    )


def test_the_first_and_smallest_convolutions_and_the_head_stay_in_floats(tmp_path: Path) -> None:
    model = create_model("efficientnet_frames", 3, pretrained=False)
    recalibrate_batch_norm(model, [patches(2, 2, 3, 64) for _ in range(3)])
    export(model, [patches(1, 2, 3, 64).numpy()], tmp_path, ["openvino-int8"])
    graph = import_openvino().Core().read_model(tmp_path / "int8.xml")

    def quantised(name: str) -> bool:
        kinds = ("Convolution", "GroupConvolution", "MatMul")
        ops = [op for op in graph.get_ordered_ops() if op.get_type_name() in kinds]
        (op,) = (op for op in ops if op.get_friendly_name().startswith(name))
        return op.input_value(0).get_node().get_type_name() == "FakeQuantize"

    assert not quantised("/rgb/stages.0/stages.0.0/Conv/")
    assert not quantised("/rgb/stages.1/stages.1.0/conv_dw/Conv/")
    assert not quantised("/rgb/stages.2/stages.2.0/conv_pwl/Conv/")
    assert quantised("/rgb/stages.7/stages.7.0/conv_pwl/Conv/")
    assert not quantised("/head/Gemm/")


def test_nothing_reports_home_when_openvino_is_imported() -> None:
    program = (
        "from slimstream.runtimes.openvino import import_openvino; import_openvino(); import nncf, sys;"
        "sys.exit(bool(sys.modules.get('openvino_telemetry')))"
    )
    source = Path(__file__).parents[3] / "src"
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(source)})


def test_networks_that_differ_in_the_head_alone_are_calibrated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated = []

    def quantised(*arguments: Any) -> Any:
        calibrated.append(arguments)
        return calibrate(*arguments)

    calibrate = openvino_int8.quantise
    monkeypatch.setattr(openvino_int8, "quantise", quantised)
    torch.manual_seed(0)
    first = create_model("light_residual_net_small", 3)
    picture = (max(first.channels), 50)
    clips = [patches(1, 2, *picture).numpy() for _ in range(2)]
    recalibrate_batch_norm(first, [torch.from_numpy(clip) for clip in clips])
    other_head, other_body = copy.deepcopy(first), copy.deepcopy(first)
    torch.nn.init.normal_(other_head.head.weight)
    torch.nn.init.normal_(other_head.head.bias)
    with torch.no_grad():
        next(iter(other_body.parameters())).mul_(1.5)

    def written(model: torch.nn.Module, name: str, alike: tuple[str, ...] = ()) -> bytes:
        folders = [tmp_path / other for other in alike]
        assert not export(model, clips, tmp_path / name, ["openvino-int8"], folders)
        return (tmp_path / name / "int8.bin").read_bytes()

    written(first, "first")
    alone = written(other_head, "alone")
    assert len(calibrated) == 2
    assert written(other_head, "head", ("missing", "first")) == alone
    assert len(calibrated) == 2
    clip = patches(1, 3, *picture).numpy()
    answers = [open_network(tmp_path / name, "openvino-int8")(clip) for name in ("head", "alone", "first")]
    assert np.array_equal(answers[0], answers[1]) and not np.allclose(answers[0], answers[2])
    written(other_body, "body", ("first", "head"))
    assert len(calibrated) == 3


def test_networks_have_the_same_layers_whatever_their_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    networks = {
        "first": create_model("light_residual_net_small", 3),
        "second": create_model("light_residual_net_small", 3),
        "more classes": create_model("light_residual_net_small", 4),
    }
    for name, model in networks.items():
        export_onnx(model, patches(1, 1, max(model.channels), 50), tmp_path / name)
    assert have_same_layers(tmp_path / "first", tmp_path / "second")
    assert not have_same_layers(tmp_path / "first", tmp_path / "more classes")
