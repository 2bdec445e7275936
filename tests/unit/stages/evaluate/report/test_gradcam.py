from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slimstream.stages.evaluate.report.gradcam import gradcam, layer_gradcam


class Tiny(nn.Module):
    """Two streams of one convolution; class 0 is brightness in RGB, class 1 is motion, 2 nothing."""

    def __init__(self, shared: str = "") -> None:
        super().__init__()
        self.rgb = stream()
        self.flow = {"none": None, "same": self.rgb}.get(shared, stream())

    def forward(self, clip: Tensor) -> Tensor:
        frames = clip.float().flatten(0, 1) / 255
        rgb, flow = frames[:, :1], (frames[:, 3:4] - 128 / 255).abs()
        if self.flow is None:
            rgb, flow = self.rgb(torch.cat((rgb, flow))).chunk(2)
        else:
            rgb, flow = self.rgb(rgb), self.flow(flow)
        scores = torch.stack((rgb.mean((1, 2, 3)), flow.mean((1, 2, 3))), -1)
        scores = scores.view(len(clip), -1, 2).mean(1)
        return torch.cat((scores, torch.zeros(len(clip), 1)), 1)


def stream() -> nn.Module:
    conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)
    nn.init.constant_(conv.weight, 1 / 9)
    return nn.Sequential(conv, nn.ReLU(inplace=True), nn.AvgPool2d(4))


def clip() -> np.ndarray:
    """(3, 5, 32, 32): bright at the top left in frame 1, moving at the bottom right in frame 2."""
    pixels = np.zeros((3, 5, 32, 32), np.uint8)
    pixels[:, 3:] = 128
    pixels[1, :3, :8, :8] = 250
    pixels[2, 3, 24:, 24:] = 250
    return pixels


@pytest.mark.parametrize("shared", ["", "same", "none"])
def test_heat_is_where_the_evidence_is(shared: str) -> None:
    model = Tiny(shared).train()
    rgb, flow = gradcam(model, clip(), target=0)
    assert rgb.shape == flow.shape == (3, 8, 8)
    t, y, x = np.unravel_index(rgb.argmax(), rgb.shape)
    assert t == 1 and y < 2 and x < 2 and rgb.max() == 1
    assert flow.max() == 0, "brightness says nothing about motion"
    _, flow = gradcam(model, clip(), target=1)
    t, y, x = np.unravel_index(flow.argmax(), flow.shape)
    assert t == 2 and y >= 6 and x >= 6
    assert model.training and not any(m._forward_hooks for m in model.modules())


def test_the_predicted_class_is_the_default() -> None:
    model, pixels = Tiny(), clip()
    predicted = int(model(torch.from_numpy(pixels)[None]).argmax())
    for given, wanted in zip(gradcam(model, pixels), gradcam(model, pixels, predicted), strict=True):
        np.testing.assert_array_equal(given, wanted)


def test_frozen_weights_are_explained_too() -> None:
    rgb, _ = gradcam(Tiny().requires_grad_(False), clip(), target=0)
    assert rgb.max() == 1


def test_a_network_without_streams_is_refused() -> None:
    with pytest.raises(ValueError, match="streams"):
        gradcam(nn.Linear(2, 2), clip())


@pytest.mark.parametrize("shared", [False, True])
def test_our_networks_are_explained(shared: bool) -> None:
    models = pytest.importorskip("slimstream.models")
    torch.set_num_threads(1)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 5, 64, 64), dtype=np.uint8)
    model = models.create_model("two_stream_mobilevit", 3, **({"shared": True} if shared else {}))
    for heat in gradcam(model, pixels):
        assert heat.shape == (2, 2, 2) and 0 <= heat.min() <= heat.max() <= 1


class Picture(nn.Module):
    """Two convolutions in one stream, the second joined to the first; class 1 is brightness, 0 nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(blur(), nn.BatchNorm2d(1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.second = nn.Sequential(blur(), nn.BatchNorm2d(1))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, clip: Tensor) -> Tensor:
        x = self.first(clip.float().flatten(0, 1) / 255)
        x = self.activation(self.second(x) + x)
        score = x.mean((1, 2, 3)).view(len(clip), -1).mean(1)
        return torch.stack((0 * score, score), 1)


def blur() -> nn.Conv2d:
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.constant_(conv.weight, 1 / 9)
    return conv


def test_each_convolution_shows_what_it_hands_on() -> None:
    model = Picture().train()
    heats = layer_gradcam(model, clip()[:, :1])
    assert [h.shape for h in heats] == [(3, 32, 32), (3, 16, 16)]
    for heat, side in zip(heats, (8, 4), strict=True):
        t, y, x = np.unravel_index(heat.argmax(), heat.shape)
        assert t == 1 and y < side and x < side and heat.max() == 1
        assert heat[0].max() == 0
    # The second shows the join, which is bright where the first is, not its blur alone.
    pixels = torch.from_numpy(clip()[:, :1])[None]
    with torch.no_grad():
        joined = model.eval().activation(model.second(x := model.first(pixels[0].float() / 255)) + x)[:, 0]
    np.testing.assert_allclose(heats[1], joined / joined.max(), atol=1e-6)
    assert not any(m._forward_hooks for m in model.modules())
    for layer in layer_gradcam(model, clip()[:, :1], target=0):
        assert layer.max() == 0, "nothing speaks for a class that does not look"


class Halves(nn.Module):
    """Keeps the left half of the first map and the right half of the second."""

    def forward(self, maps: Tensor) -> Tensor:
        kept = torch.zeros(2, 1, 8)
        kept[0, :, :4] = kept[1, :, 4:] = 1
        return maps * kept


class Sides(nn.Module):
    """Class 0 is the brightness of both halves, class 1 twice that of the right one."""

    def __init__(self, certainty: float) -> None:
        super().__init__()
        conv = nn.Conv2d(1, 2, 1, bias=False)
        nn.init.ones_(conv.weight)
        self.maps, self.certainty = nn.Sequential(conv, Halves()), certainty

    def forward(self, clip: Tensor) -> Tensor:
        left, right = self.maps(clip.flatten(0, 1) / 255).mean((2, 3)).unbind(1)
        return self.certainty * torch.stack((left + right, 2 * right), -1)


@pytest.mark.parametrize("certainty", [1.0, 2000.0])
def test_the_softmax_shows_what_supports_a_class_more_than_the_others(certainty: float) -> None:
    pixels = np.zeros((1, 1, 8, 8), np.uint8)
    pixels[0, 0, 2:4, 1] = pixels[0, 0, 5, 6] = 255  # logits are up to 31 apart: single precision sees 0
    (logit,), (softmax,) = (layer_gradcam(Sides(certainty), pixels, 0, of) for of in ("logit", "softmax"))
    assert logit[0, 2, 1] == logit[0, 5, 6] == 1
    assert softmax[0, 2, 1] == 1 and softmax[0, 5, 6] == 0


def test_a_network_without_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="maps"):
        layer_gradcam(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)), clip()[:, :1])


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("light_residual_net_small", [50, 25, 12, 12, 12, 6, 6, 6, 3, 3]),
        ("resnet18", [25, *[13] * 4, *[7] * 5, *[4] * 5, *[2] * 5]),
    ],
)
def test_networks_for_pictures_are_explained_by_layer(name: str, sides: list[int]) -> None:
    models = pytest.importorskip("slimstream.models")
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 255, (1, 1, 50, 50), dtype=np.uint8)
    heats = layer_gradcam(models.create_model(name, 2), pixels)
    assert [heat.shape[1] for heat in heats] == sides
    assert all(0 <= heat.min() <= heat.max() <= 1 for heat in heats)


@pytest.mark.parametrize(
    ("name", "kwargs", "side"),
    [
        ("two_stream_swin_c", {"width": 24}, 2),
        ("two_stream_i3d", {}, 2),
        ("tsn", {}, 2),
        ("i3d", {}, 2),
        ("mobilevit_3d", {}, 2),
        ("c3d", {"width": 0.125}, 4),
        ("per_frame_cnn", {"width": 0.125}, 6),
        ("frozen_frames_lite0", {"pretrained": False}, 2),
    ],
)
def test_networks_of_one_stream_or_on_volumes_are_explained(
    name: str, kwargs: dict[str, Any], side: int
) -> None:
    models = pytest.importorskip("slimstream.models")
    torch.manual_seed(0)
    model = models.create_model(name, 3, **kwargs)
    channels = max(model.channels)
    pixels = np.random.default_rng(0).integers(0, 255, (9, channels, 64, 64), dtype=np.uint8)
    heats = gradcam(model, pixels)
    assert len(heats) == (2 if min(model.channels) == 5 else 1)
    for heat in heats:
        assert heat.shape == (9, side, side) and 0 <= heat.min() <= heat.max() <= 1
    if name.endswith("i3d"):  # two instants, eight frames apart: each frame shows its own
        assert all((heat[:5] == heat[0]).all() and (heat[5:] == heat[8]).all() for heat in heats)
