"""Canny's edges are OpenCV's, and the box is where they are."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from slimstream.models import create_model
from slimstream.models.layers.canny import CannyBox, canny


def part(top: int = 12, left: int = 20, height: int = 18, width: int = 9) -> Tensor:
    """A bright part on a dark, noisy ground, (1, 1, 50, 50) float32 of whole numbers."""
    picture = torch.randint(20, 30, (1, 1, 50, 50), generator=torch.Generator().manual_seed(0)).float()
    picture[..., top : top + height, left : left + width] += 150
    return picture


@pytest.mark.parametrize(("low", "high"), [(60, 150), (150, 400)])
def test_edges_are_those_of_opencv(low: int, high: int) -> None:
    generator = torch.Generator().manual_seed(low)
    coarse = torch.randint(0, 256, (4, 1, 8, 9), generator=generator).float()
    pictures = F.interpolate(coarse, (40, 47), mode="bilinear").round()
    found = canny(pictures, torch.full((4, 1, 1, 1), low), torch.full((4, 1, 1, 1), high))
    for picture, edges in zip(pictures[:, 0].numpy().astype(np.uint8), found[:, 0], strict=True):
        expected = cv2.Canny(picture, low, high)
        assert 0 < expected.mean() < 128
        np.testing.assert_array_equal(edges.numpy() > 0, expected > 0)


def test_the_box_holds_the_part_and_little_else() -> None:
    box = CannyBox(side=32, margin=0)
    rows = box._samples(box.edges(part()).amax(3).flatten(1))[0].sum(0).nonzero().flatten()
    columns = box._samples(box.edges(part()).amax(2).flatten(1))[0].sum(0).nonzero().flatten()
    for found, start, length in ((rows, 12, 18), (columns, 20, 9)):
        # An edge lies beside the border, and interpolation takes in the pixel after it.
        assert start - 2 <= found.min() <= start and start + length <= found.max() + 1 <= start + length + 2


def test_place_and_light_of_the_part_do_not_matter() -> None:
    box = CannyBox(side=24)
    cut = [box((part(*place) > 100).float() * 90 + 40) for place in ((12, 20), (30, 3))]
    torch.testing.assert_close(cut[0], cut[1], rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(box(2 * part()), 2 * box(part()))


def test_a_picture_without_edges_is_kept_whole() -> None:
    plain = torch.full((2, 1, 50, 50), 7, dtype=torch.uint8)
    torch.testing.assert_close(CannyBox(side=50)(plain), plain.float())
    assert CannyBox(side=16)(plain).shape == (2, 1, 16, 16)


def test_the_network_of_the_box_is_small() -> None:
    with torch.device("meta"):
        model = create_model("canny_cnn", 2)
    assert sum(p.numel() for p in model.parameters()) == 9 * (16 + 16 * 32 + 32 * 64) + 2 * 112 + 130
