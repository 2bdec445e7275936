"""A network converted once answers as in PyTorch at every size."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from slimstream.stages.search.compiled import compiled, convert, megabytes

torch.set_num_threads(1)


class Net(nn.Module):
    """Any frames of any size (B, T, C, H, W) to (B, 4), with sizes taken from the clip as our networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, clip: Tensor) -> Tensor:
        maps = self.conv(clip.flatten(0, 1).float() / 255)
        return maps.mean((2, 3)).reshape(clip.shape[0], clip.shape[1], -1).mean(1)


def test_one_conversion_serves_other_frames_and_sizes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Net().eval()
    graph = convert(model, (1, 3, 3, 32, 32))
    for shape in ((1, 3, 3, 32, 32), (1, 1, 3, 21, 46)):
        clip = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        with torch.inference_mode():
            np.testing.assert_allclose(
                compiled(graph, shape, 1)(clip), model(torch.from_numpy(clip)), atol=1e-5
            )
    assert 0 < megabytes(graph, tmp_path) < 0.1
