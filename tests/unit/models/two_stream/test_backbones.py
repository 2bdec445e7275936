"""Every backbone is the published network without its classifier."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from slimstream.core.errors import UserError
from slimstream.models import create_model
from slimstream.models.cost import count_macs
from slimstream.models.hub import timm_net, torchvision_net
from slimstream.models.two_stream.backbone import Backbone
from slimstream.models.two_stream.cnn_m import cnn_m
from slimstream.models.two_stream.efficientnet import efficientnet
from slimstream.models.two_stream.efficientnetv2 import dilate, efficientnetv2
from slimstream.models.two_stream.inception import inception
from slimstream.models.two_stream.mobilenet import mobilenet
from slimstream.models.two_stream.resnet import resnet
from slimstream.models.two_stream.shufflenet import V1_WIDTHS, Groups, GroupUnit, shufflenet
from slimstream.models.two_stream.squeezenet import squeezenet
from slimstream.models.two_stream.vit import vit
from tests.unit.models.random_clips import clip_of, params


@pytest.mark.parametrize(
    ("make", "millions"),
    [
        (lambda: mobilenet("v1", False), 4.23),  # Howard et al. 2017, Table 8: 4.2
        (lambda: mobilenet("v2", False), 3.50),  # Sandler et al. 2018, Table 4: 3.4
        (lambda: shufflenet("x0_5", False), 1.37),  # Ma et al. 2018, Table 8: 1.4
        (lambda: shufflenet("x1_0", False), 2.28),  # the same: 2.3
        (lambda: squeezenet("1_1", False), 1.235),  # Iandola et al. 2016, Table 1: 1.25 for 1.0
        (lambda: vit("tiny", False), 5.72),  # Touvron et al. 2021, Table 1: 5
        (lambda: efficientnet("b0", False), 5.29),  # Tan & Le 2019, Table 2: 5.3
        (lambda: efficientnet("b6", False), 43.0),  # P2, Table 2: 43
        (lambda: efficientnetv2("s", False), 21.5),  # Tan & Le 2021, Table 7: 22
        (lambda: efficientnetv2("s_24m", False), 23.9),  # P2, Table 2: 24
        (lambda: dilate(efficientnetv2("s_24m", False), 2), 23.9),
        (lambda: resnet("resnet18", False), 11.7),  # He et al. 2016
        (lambda: resnet("resnet50", False), 25.6),
        (lambda: resnet("resnetrs50", False), 35.7),  # Bello et al. 2021, Table 3: 36
        (lambda: resnet("resnetrs350", False), 164.0),  # P2, Table 2: 164
        (lambda: inception("v1", False), 6.62),  # Szegedy et al. 2015, Table 1: about 6.8
        (lambda: inception("v3", False), 23.8),  # Szegedy et al. 2016: less than 25
        (lambda: inception("v4", False), 42.7),
        (lambda: cnn_m(1.0), 92.4),  # 75.5 M of them in full6
    ],
)
def test_with_a_classifier_of_1000_classes_it_has_the_published_size(
    make: Callable[[], Backbone], millions: float
) -> None:
    with torch.device("meta"):
        backbone = make()
    assert params(backbone) + 1000 * (backbone.channels + 1) == pytest.approx(1e6 * millions, rel=0.003)


@pytest.mark.parametrize(("groups", "millions"), [(1, 143), (2, 140), (3, 137), (4, 133), (8, 137)])
def test_the_first_shufflenet_costs_what_its_paper_says(groups: Groups, millions: float) -> None:
    """Zhang et al. 2018, Table 1: multiply-accumulates with the classifier of 1000 classes."""
    with torch.device("meta"):
        model = create_model("two_stream_shufflenet_v1", 2, groups=groups, shared=True)
    macs = count_macs(model, (1, 1, 5, 224, 224)) - 2 * 2 * V1_WIDTHS[groups][-1]
    assert macs / 2 + 1000 * V1_WIDTHS[groups][-1] == pytest.approx(1e6 * millions, rel=0.015)


def test_the_first_shufflenet_hands_each_group_channels_of_all_groups() -> None:
    """Without a shuffle a group of the last convolution would depend on its own group of the input alone."""
    unit = GroupUnit(48, 48, 3).eval()
    x = torch.randn(1, 48, 4, 4, requires_grad=True)
    unit.expand(unit.reduce(x).index_select(1, unit.order))[0, 0].sum().backward()
    seen = x.grad.abs().sum((0, 2, 3)).unflatten(0, (3, 16)) > 0
    assert seen.any(1).all()


@pytest.mark.parametrize(
    ("make", "whole"),
    [
        (lambda: mobilenet("v1", False), lambda: timm_net("mobilenetv1_100", False)),
        (lambda: mobilenet("v3_small", False), lambda: timm_net("mobilenetv3_small_100", False)),
        (lambda: efficientnetv2("b0", False), lambda: timm_net("tf_efficientnetv2_b0", False)),
        (lambda: resnet("resnetrs50", False), lambda: timm_net("resnetrs50", False)),
        (lambda: inception("v3", False), lambda: timm_net("inception_v3", False)),
        (lambda: squeezenet("1_0", False), lambda: torchvision_net("squeezenet1_0", False).features),
    ],
)
def test_its_stages_in_a_row_are_the_network(
    make: Callable[[], Backbone], whole: Callable[[], nn.Module]
) -> None:
    torch.manual_seed(0)
    backbone = make().eval()
    torch.manual_seed(0)
    net = whole().eval()
    picture = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        expected = getattr(net, "forward_features", net)(picture)
        torch.testing.assert_close(backbone(picture), expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: shufflenet("x0_5", False), "shufflenet_v2_x0_5"),
        (lambda: inception("v1", False), "googlenet"),
    ],
)
def test_the_mean_of_its_map_is_what_the_classifier_saw(make: Callable[[], Backbone], name: str) -> None:
    kwargs = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    backbone = make().eval()
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None, **kwargs).eval()
    net.fc = nn.Identity()
    picture = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(backbone(picture).mean((2, 3)), net(picture), rtol=1e-4, atol=1e-5)


def test_without_its_class_token_the_transformer_sees_the_patches_as_timm_does() -> None:
    torch.manual_seed(0)
    backbone = vit("tiny", False).eval()
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    net.cls_token, net.num_prefix_tokens = None, 0
    net.pos_embed = nn.Parameter(net.pos_embed[:, 1:])
    with torch.no_grad():
        picture = torch.randn(1, 3, 224, 224)
        expected = net.forward_features(picture).mT.unflatten(2, (14, 14))
        torch.testing.assert_close(backbone(picture), expected, rtol=1e-4, atol=1e-4)
        assert backbone(torch.randn(1, 3, 64, 112)).shape == (1, 192, 4, 7)


def test_efficientnetv2_has_the_rows_of_the_papers_table() -> None:
    """P2, Table 1: blocks a stage."""
    with torch.device("meta"):
        backbone = efficientnetv2("s_24m", False)
    rows = [(name, len(stage)) for name, stage in zip(backbone.names, backbone.stages, strict=True)]
    assert rows[1:-1] == [
        ("fused_mbconv1", 2),
        ("fused_mbconv4", 4),
        ("fused_mbconv4", 4),
        ("mbconv4", 6),
        ("mbconv6", 9),
        ("mbconv6", 15),
    ]


def test_dilation_widens_the_view_for_the_same_parameters_and_computation() -> None:
    plain, dilated = (
        create_model(f"two_stream_{name}", 3).eval() for name in ("efficientnetv2", "dilated_efficientnetv2")
    )
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (plain, dilated)]
    assert shapes[0] == shapes[1]
    clip = (1, 1, 5, 96, 96)
    assert count_macs(plain, clip) == count_macs(dilated, clip)
    dilated.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert not torch.equal(plain(clip_of(1)), dilated(clip_of(1)))
    # Five blocks of stride 1, one of stride 2 and seven above it: 1 + 5·2 + 2 + 7·2·2, or, all but the one
    # of stride 2 dilated, 1 + 5·4 + 2 + 7·4·2.
    assert view(plain) == 41
    assert view(dilated) == 79


def view(net: nn.Module) -> int:
    """Columns of its input that one point of the last MBConv6 map depends on."""
    stages = nn.Sequential(
        *(stage for name, stage in zip(net.rgb.names, net.rgb.stages, strict=True) if name == "mbconv6")
    ).double()
    for module in stages.modules():
        if hasattr(module, "se"):
            module.se = nn.Identity()  # squeeze-and-excitation looks at the whole map
    x = torch.randn(1, 96, 3, 100, dtype=torch.float64, requires_grad=True)
    stages(x)[0, :, 0, 25].sum().backward()
    columns = x.grad.abs().sum((0, 1, 2)).nonzero()
    return int(columns.max() - columns.min()) + 1


def test_frozen_stages_can_be_asked_alone() -> None:
    model = create_model("two_stream_mobilenet", 3, freeze=5, standardise=True).eval()
    layers = model.frozen_layers()
    assert layers is not None and not any(p.requires_grad for p in layers.parameters())
    clip = clip_of(2)
    with torch.no_grad():
        trunk = model.frozen_features(clip)
        torch.testing.assert_close(model(trunk), model(clip))
    free = create_model("two_stream_mobilenet", 3, freeze="all", fusion="conv", position="stage4")
    assert {n.split(".")[0] for n, p in free.named_parameters() if p.requires_grad} == {"fusion", "head"}


@pytest.mark.parametrize(
    ("name", "file_of"),
    [
        ("two_stream_mobilenet", lambda: timm.create_model("mobilenetv2_100")),
        ("two_stream_shufflenet", lambda: torchvision.models.shufflenet_v2_x1_0()),
        ("two_stream_efficientnet_lite0", lambda: timm.create_model("tf_efficientnet_lite0")),
        ("two_stream_mobilevit", lambda: timm.create_model("mobilevit_xxs")),
    ],
)
def test_weights_come_from_a_file_as_the_hubs_have_it(
    tmp_path: Path, name: str, file_of: Callable[[], nn.Module]
) -> None:
    given = file_of()
    save_file(given.state_dict(), tmp_path / "model.safetensors")
    model = create_model(name, 3, pretrained=str(tmp_path / "model.safetensors"))
    first = next(module.weight for module in given.modules() if isinstance(module, nn.Conv2d))
    last = [module.weight for module in given.modules() if isinstance(module, nn.Conv2d)][-2]
    for stream in (model.rgb, model.flow):
        weights = [module.weight for module in stream.modules() if isinstance(module, nn.Conv2d)]
        assert torch.equal(weights[0], first)
        assert any(torch.equal(weight, last) for weight in weights[-3:])


def test_a_file_without_the_weights_is_refused(tmp_path: Path) -> None:
    other, pickle, text = (tmp_path / name for name in ("other.safetensors", "a.pth", "text.safetensors"))
    save_file({"conv_stem.weight": torch.zeros(1)}, other)
    pickle.write_bytes(b"")
    text.write_text("no")
    for path, complaint in (
        (other, r"of \d+ tensors \d+ are missing or of another shape"),
        (pickle, r"is not a \.safetensors file; no other kind is read"),
        (text, "is not a safetensors file"),
        (tmp_path / "missing.safetensors", "does not exist"),
    ):
        with pytest.raises(UserError, match=complaint):
            create_model("two_stream_mobilenet", 3, pretrained=path)


def test_no_network_for_torchvisions_weights_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.error import URLError

    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    with pytest.raises(UserError, match=r"squeezenet1_1.*could not be fetched: go online once"):
        create_model("two_stream_squeezenet", 3, pretrained=True)


def test_pictures_too_small_for_inception_are_named() -> None:
    model = create_model("two_stream_inception", 3, size="v3")
    with pytest.raises(UserError, match=r"extract\.size: .*at least 75 × 75 pixels, these have 64 × 64"):
        model(clip_of(1))
