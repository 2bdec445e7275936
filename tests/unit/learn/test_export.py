from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from slimstream.errors import UserError
from slimstream.learn.export import export_onnx
from slimstream.learn.pruning import prune_channels, recalibrate
from slimstream.learn.runtimes import OnnxModel
from slimstream.models import create_model

torch.set_num_threads(1)


def patches(batch: int, frames: int, channels: int, side: int) -> Tensor:
    """Clips of few large patches: fine noise would look the same to a network that averages."""
    coarse = torch.randint(0, 256, (batch * frames, channels, 5, 5), dtype=torch.uint8)
    return F.interpolate(coarse, side).unflatten(0, (batch, frames))


@pytest.mark.parametrize(
    ("name", "kwargs", "side", "pruned"),
    [
        ("two_stream_mobilevit", {}, 64, False),
        ("two_stream_mobilevit", {"shared": True, "shortcut": False, "pool": "mean_std"}, 96, True),
        ("two_stream_efficientnet_lite0", {"pretrained": False}, 64, True),
        ("two_stream_efficientnet_lite0", {"pretrained": False, "head": "cosine"}, 64, True),
        ("light_residual_net_small", {}, 50, True),
        ("resnet18", {}, 50, False),
        ("vgg16", {}, 50, False),
        ("two_stream_mobilenet", {"fusion": "average", "pool": "mean_std"}, 64, True),
        ("two_stream_shufflenet", {"fusion": "fc"}, 64, True),
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
        ("i3d", {"two_stream": True}, 64, False),
        ("tsn", {}, 64, False),
        ("per_frame_cnn", {"width": 0.125}, 64, False),
    ],
)
def test_the_deployed_form_judges_alike_at_any_length(
    tmp_path: Path, name: str, kwargs: dict[str, object], side: int, pruned: bool
) -> None:
    torch.manual_seed(0)
    model = create_model(name, 3, **kwargs)
    picture = (max(model.channels), side)
    clip = patches(1, 1, *picture)
    recalibrate(model, [patches(2, 2, *picture) for _ in range(3)])  # fresh, it would see next to nothing
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
