import pytest
import torch

from slimstream.models import create_model
from slimstream.models.cost import count_macs, count_params, measure


def test_macs_are_those_of_the_literature() -> None:
    """MobileViT-xxs 0.4 G at 256 px (Mehta & Rastegari, Table 1), EfficientNet-Lite0 0.39 G at 224 px."""
    with torch.device("meta"):
        mobilevit = create_model("two_stream_mobilevit", 3)
        lite0 = create_model("two_stream_efficientnet_lite0", 3, pretrained=False, features="head")
    fusion = (640 * 640 + 640 * 160 * 9) * 8 * 8
    assert (count_macs(mobilevit, (1, 1, 5, 256, 256)) - fusion) / 2 == pytest.approx(0.4e9, rel=0.03)
    assert count_macs(lite0, (1, 1, 5, 224, 224)) / 2 == pytest.approx(0.39e9, rel=0.03)


def test_macs_are_counted_by_hand() -> None:
    model = torch.nn.Sequential(
        torch.nn.Flatten(0, 1), torch.nn.Conv2d(5, 10, 3, groups=5), torch.nn.AdaptiveAvgPool2d(1)
    )
    net = torch.nn.Sequential(_Float(), model, torch.nn.Flatten(), torch.nn.Linear(10, 2))
    assert count_macs(net, (1, 3, 5, 6, 6)) == 3 * (10 * 9 * 4 * 4 + 10 * 2)
    assert measure(net, (1, 3, 5, 6, 6))[0] == count_params(net) == 10 * 9 + 10 + 22


class _Float(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float()
