"""The cosine head, against values worked out by hand."""

import pytest
import torch

from slimstream.models import create_model
from slimstream.models.layers.heads import CosineHead


def test_logits_are_scaled_cosines() -> None:
    head = CosineHead(2, 3, scale=10.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[5.0, 0.0], [0.0, 0.1], [1.0, 1.0]]))
        logits = head(torch.tensor([[3.0, 4.0]]))
    assert logits[0].tolist() == pytest.approx([6.0, 8.0, 10 * 7 / (5 * 2**0.5)])
    assert head.bias is None


def test_no_features_are_no_direction() -> None:
    assert CosineHead(2, 3)(torch.zeros(1, 2)).abs().max() == 0


def test_its_scale_is_saved_with_the_weights() -> None:
    model = create_model("two_stream_mobilevit", 3, head="cosine")
    model.head.scale.fill_(12.0)
    again = create_model("two_stream_mobilevit", 3, head="cosine")
    again.load_state_dict(model.state_dict())
    assert again.head.scale == 12.0
