"""Pictures through one frozen stream."""

from pathlib import Path

import numpy as np
import torch

from slimstream.models import create_model
from slimstream.runtimes.onnx import OnnxModel, export_onnx

torch.set_num_threads(1)


def test_grey_is_seen_as_rgb_and_exported(tmp_path: Path) -> None:
    model = create_model("frozen_frames_lite0", 2).eval()
    assert not any(p.requires_grad for p in model.rgb.parameters())
    grey = torch.randint(0, 256, (2, 3, 1, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        logits = model(grey)
        torch.testing.assert_close(model(grey.expand(-1, -1, 3, -1, -1)), logits)
        assert model.features(grey).shape == (2, 320)
    export_onnx(model, grey, tmp_path / "net.onnx")
    deployed = OnnxModel(tmp_path / "net.onnx")
    np.testing.assert_allclose(deployed(grey[:1, :2].numpy()), model(grey[:1, :2]).detach(), atol=1e-4)
