"""Networks for grey pictures: P3's student in two sizes and its teachers."""

import pytest
import torch
from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.models import create_model
from slimstream.models.architectures.picture import StandardisePicture
from slimstream.models.cost import count_macs, count_params
from slimstream.models.two_stream.shufflenet import shufflenet
from slimstream.stages.prune.pruning import prune_channels

torch.set_num_threads(1)

STUDENTS = ("light_residual_net", "light_residual_net_small")
TEACHERS = ("vgg16", "vgg19", "resnet18")


def clip_of(frames: int = 1, batch: int = 2, side: int = 50) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randint(0, 256, (batch, frames, 1, side, side), dtype=torch.uint8, generator=generator)


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, 2)


def count(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


@pytest.mark.parametrize("name", STUDENTS)
def test_the_student_has_the_papers_layers(name: str) -> None:
    model = on_meta(name)
    layers = {kind: count(model, kind) for kind in (nn.Conv2d, nn.MaxPool2d, nn.Linear)}
    assert layers == {nn.Conv2d: 10, nn.MaxPool2d: 4, nn.Linear: 2}
    assert count(model, nn.BatchNorm2d) == 10 and count(model, nn.LeakyReLU) == 10 + 1
    with pytest.raises(UserError, match="'pretrained'"):
        create_model(name, 2, pretrained=True)


def test_blocks_of_1x1_3x3_1x1_have_fewer_parameters() -> None:
    """P3, section 2.2: fewer than with two 3×3 convolutions; 17·w²/16 instead of 18·w² a block."""
    with_it, plain = on_meta("light_residual_net_bottleneck"), on_meta("light_residual_net")
    assert count(with_it, nn.Conv2d) == 10 + 3 and count(with_it, nn.MaxPool2d) == 4
    weights = [
        sum(m.weight.numel() for m in net.modules() if isinstance(m, nn.Conv2d)) for net in (with_it, plain)
    ]
    assert weights[1] - weights[0] == sum(18 * w**2 - 17 * w**2 // 16 for w in (96, 224, 480))


def test_a_grey_picture_is_seen_as_colours_that_are_equal() -> None:
    torch.manual_seed(0)
    grey = create_model("shufflenet_v2", 2).eval()
    torch.manual_seed(0)
    colours = shufflenet("x0_5", False).eval()
    with torch.no_grad():
        pictures = grey.normalise(clip_of()[:, 0])
        torch.testing.assert_close(grey.maps(clip_of())[-1], colours(pictures.expand(-1, 3, -1, -1)))
    assert count_params(grey) == pytest.approx(1.37e6 - 1000 * 1025, rel=0.02)  # Ma et al. 2018, Table 8


def test_sizes_are_the_papers() -> None:
    """P3, Table 3: the student has 6.43 M parameters, the teachers 15.76 M on average."""
    assert count_params(on_meta("light_residual_net")) == pytest.approx(6.43e6, rel=0.03)
    mean = sum(count_params(on_meta(name)) for name in TEACHERS) / 3
    assert mean == pytest.approx(15.76e6, rel=0.03)


def test_the_small_student_is_a_fraction_of_all() -> None:
    """A guard of its latency, which tests on a busy machine cannot measure."""
    picture = (1, 1, 1, 50, 50)
    mean = sum(count_macs(on_meta(name), picture) for name in TEACHERS) / 3
    assert 50e3 < count_params(on_meta("light_residual_net_small")) < 150e3
    assert count_macs(on_meta("light_residual_net_small"), picture) < 0.03 * mean
    assert count_macs(on_meta("light_residual_net"), picture) < 0.5 * mean


@pytest.mark.parametrize("name", TEACHERS)
def test_half_a_teacher_costs_a_quarter(name: str) -> None:
    with torch.device("meta"):
        half = create_model(name, 2, width=0.5)
    assert count_params(half) / count_params(on_meta(name)) == pytest.approx(0.25, rel=0.02)
    with pytest.raises(UserError, match="set width: 1"):
        create_model(name, 2, width=0.5, pretrained=True)


@pytest.mark.parametrize(("name", "convolutions", "linear"), [("vgg16", 13, 3), ("vgg19", 16, 3)])
def test_a_vgg_has_as_many_layers_as_its_name_says(name: str, convolutions: int, linear: int) -> None:
    model = on_meta(name)
    assert (count(model, nn.Conv2d), count(model, nn.Linear)) == (convolutions, linear)


@pytest.mark.parametrize(
    ("name", "sides"),
    [("light_residual_net_small", [25, 12, 6, 3]), ("vgg16", [25, 12, 6, 3]), ("resnet18", [13, 7, 4, 2])],
)
def test_four_maps_are_shown(name: str, sides: list[int]) -> None:
    model = create_model(name, 2).eval()
    with torch.no_grad():
        maps = model.maps(clip_of(frames=2))
        assert [m.shape[-1] for m in maps] == sides and all(len(m) == 4 for m in maps)
        features = model.neck(maps[-1].mean((2, 3))).view(2, 2, -1).mean(1)
        torch.testing.assert_close(model.features(clip_of(frames=2)), features)


def test_lighting_does_not_matter() -> None:
    standardise = StandardisePicture()
    pictures = clip_of()[:, 0]
    x = standardise(pictures)
    torch.testing.assert_close(x.mean((1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((1, 2, 3), correction=0), torch.ones(2))
    torch.testing.assert_close(standardise(pictures.float() * 0.4 + 30), x)
    assert (standardise(torch.full((1, 1, 4, 4), 200, dtype=torch.uint8)) == 0).all()


def test_several_pictures_are_judged_by_their_mean() -> None:
    model = create_model("light_residual_net_small", 2).eval()
    clip = clip_of(frames=3)
    with torch.no_grad():
        each = torch.stack([model.features(clip[:, t : t + 1]) for t in range(3)], 1)
        torch.testing.assert_close(model.features(clip), each.mean(1))


def test_a_head_fitted_elsewhere_is_taken_exactly() -> None:
    model = create_model("light_residual_net_small", 3).eval()
    with torch.no_grad():
        features = model.features(clip_of())
        width = features.shape[1]
        weight, bias, mean, std = torch.randn(3, width), torch.randn(3), torch.randn(width), torch.rand(width)
        model.set_head(weight, bias, mean, std + 0.1)
        expected = ((features - mean) / (std + 0.1)) @ weight.T + bias
        torch.testing.assert_close(model(clip_of()), expected, rtol=1e-4, atol=1e-4)


def test_it_learns_what_is_in_the_picture() -> None:
    """A dark speck tells the classes apart; thirty steps are enough for the small student."""
    torch.manual_seed(0)
    model = create_model("light_residual_net_small", 2).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def batch() -> tuple[Tensor, Tensor]:
        pictures = torch.randint(120, 180, (32, 1, 1, 50, 50), dtype=torch.uint8)
        labels = torch.arange(32) % 2
        for i, (y, x) in enumerate(torch.randint(5, 40, (32, 2)).tolist()):
            pictures[i, ..., y : y + 5, x : x + 5] -= 100 * labels[i].to(torch.uint8)
        return pictures, labels

    for _ in range(30):
        pictures, labels = batch()
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(pictures), labels).backward()
        optimiser.step()
    pictures, labels = batch()
    with torch.no_grad():
        assert (model(pictures).argmax(1) == labels).float().mean() > 0.9


def test_residual_sums_lose_the_same_channels() -> None:
    torch.manual_seed(0)
    model = create_model("light_residual_net_small", 2)
    prune_channels(model, clip_of(), target_params=0.5, round_to=4)
    for stage in list(model.stages)[1:]:
        widen, (_, last) = stage[0][0], stage[2].convolutions
        assert widen.out_channels == last[0].out_channels < 64
    assert count_params(model) == pytest.approx(0.5 * 146e3, rel=0.05)


@pytest.mark.parametrize("name", TEACHERS)
def test_no_network_for_the_hubs_weights_is_a_clear_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def offline(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError("cannot find the requested files in the local cache")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=rf"{name}.*pretrained: false"):
        create_model(name, 2, pretrained=True)


def test_imagenet_weights_go_where_timm_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    real = timm.create_model
    with torch.device("meta"):
        given = real("vgg16_bn", in_chans=1)
    given.features.to_empty(device="cpu")
    given.features[3].weight.data.fill_(7.0)
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: given)
    model = create_model("vgg16", 2, pretrained=True)
    assert (model.stages[0][3].weight == 7).all()
