from itertools import product

import pytest
import torch
from torch import nn

from slimstream.cli.model_table import RECOMMENDED, format_table, model_table
from slimstream.core.errors import UserError
from slimstream.models import MODELS, create_model, with_pretrained
from slimstream.models.architectures.two_stream import Normalise, TimePool
from slimstream.models.base import Standardise
from slimstream.models.two_stream.efficientnet import Lite, two_stream_efficientnet_lite0
from slimstream.models.two_stream.mobilevit import two_stream_mobilevit
from tests.unit.models.large import mark_large
from tests.unit.models.random_clips import clip_of, params


@pytest.mark.parametrize("name", mark_large(MODELS))
def test_any_number_of_frames_uint8_or_float(name: str) -> None:
    model = create_model(name, 3, pretrained=False).eval()
    with torch.no_grad():
        for frames, channels in product((1, 3), model.channels):
            clip = clip_of(frames, channels=channels)
            logits = model(clip)
            assert logits.shape == (2, 3) and logits.isfinite().all()
            torch.testing.assert_close(model(clip.float()), logits, rtol=0, atol=0)
            assert model.features(clip).shape == (2, model.head.in_features)


def test_two_copied_xxs_have_the_papers_size() -> None:
    model = two_stream_mobilevit(3)
    assert model.flow is not None
    assert params(model.rgb) + params(model.flow) == pytest.approx(1.90e6, rel=0.01)
    assert params(model) == pytest.approx(3.25e6, rel=0.03)


def test_a_shared_backbone_is_one_and_serves_both_streams() -> None:
    model = two_stream_mobilevit(3, shared=True).eval()
    assert params(model) == params(two_stream_mobilevit(3)) - params(model.rgb)
    assert not any(name.startswith("flow") for name in model.state_dict())
    clip = clip_of(2)
    with torch.no_grad():
        rgb, flow = model.maps(clip)
        pictures = model.normalise(clip.flatten(0, 1))
        torch.testing.assert_close(rgb, model.rgb(pictures[0]))
        torch.testing.assert_close(flow, model.rgb(pictures[1]))


def test_without_shortcut_the_fusion_convolution_sees_the_global_branch_alone() -> None:
    with_it, without = two_stream_mobilevit(3), two_stream_mobilevit(3, shortcut=False)
    # xxs: blocks of 48, 64 and 80 channels in both streams; a 3×3 fusion convolution loses half its inputs.
    assert params(with_it) - params(without) == 2 * 9 * (48**2 + 64**2 + 80**2)
    assert without.eval()(clip_of(1)).shape == (2, 3)


def test_flow_at_rest_is_zero_and_its_direction_is_kept() -> None:
    normalise = Normalise(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    frames = torch.full((1, 5, 2, 2), 128, dtype=torch.uint8)
    rgb, flow = normalise(frames)
    assert (flow[:, :2] == 0).all() and (flow[:, 2] == -1).all()
    assert rgb == pytest.approx(128 / 127.5 - 1, abs=1e-6)
    frames[:, 3], frames[:, 4] = 255, 1
    _, flow = normalise(frames)
    torch.testing.assert_close(flow[0, :, 0, 0], torch.tensor([1.0, -1.0, 1.0]))


def test_each_stream_looks_at_its_own_channels() -> None:
    model = two_stream_efficientnet_lite0(3, pretrained=False).eval()
    clip, other = clip_of(2), clip_of(2).clone()
    other[:, :, 3:] = 128
    with torch.no_grad():
        (rgb, flow), (rgb2, flow2) = model.maps(clip), model.maps(other)
    assert torch.equal(rgb, rgb2) and not torch.equal(flow, flow2)


def test_mean_and_deviation_over_time() -> None:
    x = torch.randn(2, 5, 7, requires_grad=True)
    torch.testing.assert_close(TimePool("mean_std")(x), torch.cat((x.mean(1), x.std(1, correction=0)), 1))
    TimePool("mean_std")(x[:, :1]).sum().backward()  # one frame: no deviation, and still a gradient
    assert x.grad is not None and x.grad.isfinite().all()


def test_standardise_learns_the_statistics_of_all_it_saw() -> None:
    torch.manual_seed(0)
    x = 3 + 2 * torch.randn(60, 4)
    scaler = Standardise(4)
    for row in x:
        assert scaler(row[None]).isfinite().all()
    torch.testing.assert_close(scaler.running_mean, x.mean(0))
    torch.testing.assert_close(scaler.running_var, x.var(0, correction=0))
    before = scaler.eval().running_mean.clone()
    scaler(x)
    assert torch.equal(scaler.running_mean, before)


def test_standardise_does_not_blow_up_the_first_clip() -> None:
    x = torch.randn(1, 4, requires_grad=True)
    Standardise(4)(x).sum().backward()
    assert x.grad is not None and x.grad.abs().max() <= 1


def test_standardise_forgets_unless_its_momentum_is_none() -> None:
    """As batch norm, which is recalibrated like that: all batches weigh alike, not the last hundred more."""
    forgetful, exact = Standardise(1), Standardise(1)
    exact.momentum = None
    for value in [0.0] * 300 + [1.0] * 300:
        for scaler in (forgetful, exact):
            scaler(torch.tensor([[value - 0.5], [value + 0.5]]))
    assert forgetful.running_mean.item() > 0.9
    assert (exact.running_mean.item(), exact.running_var.item()) == pytest.approx((0.5, 0.5), abs=1e-3)


def test_a_head_fitted_elsewhere_is_taken_exactly() -> None:
    model = create_model("frozen_efficientnet_lite0", 3, pretrained=False).eval()
    clip = clip_of(3)
    with torch.no_grad():
        features = model.features(clip)
        width = features.shape[1]
        weight, bias = torch.randn(3, width), torch.randn(3)
        mean, std = torch.randn(width), torch.rand(width) * 0.01 + 1e-4
        model.set_head(weight, bias, mean, std)
        expected = ((features - mean) / std).double() @ weight.double().T + bias
        torch.testing.assert_close(model(clip).double(), expected, rtol=1e-4, atol=1e-2)


def test_a_fitted_head_outlasts_the_first_batch() -> None:
    """Its statistics are those of all clips; a batch of its own would judge by two of them."""
    model = create_model("two_stream_efficientnet_lite0", 3, pretrained=False, dropout=0.0)
    torch.manual_seed(0)
    width = model.head.in_features
    with torch.no_grad():
        features = model.features(clip_of(3))
        mean, std = features.mean(0) + 1, torch.full((width,), 2.0)
        model.set_head(torch.randn(3, width) / width, torch.randn(3), mean, std)
        fitted = model.eval()(clip_of(3))
        assert fitted.std(1).min() > 0.1
        moved = (model.train()(clip_of(3)) - fitted).abs().max()
        assert 0 < moved < 0.02
    assert model.standardise.num_batches_tracked == Standardise.MEMORY + 1


def test_imagenet_weights_come_with_a_package() -> None:
    model = create_model("two_stream_efficientnet_lite0", 3)
    assert isinstance(model.rgb, Lite) and isinstance(model.flow, Lite)
    for a, b in zip(model.rgb.parameters(), model.flow.parameters(), strict=True):
        assert torch.equal(a, b)
    # Trained first-layer filters differ in strength by far more than fresh ones do.
    norms = model.rgb.stages[0][0].weight.flatten(1).norm(dim=1)
    assert norms.max() > 5 * norms.min()


def test_frozen_stages_neither_learn_nor_drift() -> None:
    model = two_stream_efficientnet_lite0(3, pretrained=False, freeze=3, frozen_bn=False).train()
    rgb = model.rgb
    assert isinstance(rgb, Lite)
    frozen = {k: v.clone() for k, v in rgb.stages[:3].state_dict().items()}
    free = rgb.stages[3][0].bn1.running_mean.clone()
    model(clip_of(2)).sum().backward()
    assert all(torch.equal(v, frozen[k]) for k, v in rgb.stages[:3].state_dict().items())
    assert all(p.grad is None for p in rgb.stages[:3].parameters())
    assert all(p.grad is not None for p in rgb.stages[3:].parameters())
    assert not torch.equal(rgb.stages[3][0].bn1.running_mean, free)


def test_frozen_batch_norm_keeps_its_statistics_and_learns_its_weights() -> None:
    model = two_stream_efficientnet_lite0(3, pretrained=False).train()
    norms = [m for m in model.rgb.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(m.training for m in norms) and all(m.weight.requires_grad for m in norms)
    baseline = create_model("frozen_efficientnet_lite0", 3, pretrained=False)
    assert [n for n, p in baseline.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]


@pytest.mark.parametrize(
    ("name", "kwargs", "hint"),
    [
        ("two_stream_mobilvit", {}, "did you mean 'two_stream_mobilevit'"),
        ("two_stream_eficientnetv2", {}, "mean .*'two_stream_efficientnetv2', .* or 'two_stream_"),
        ("vit", {}, "did you mean 'two_stream_mobilevit', .* or 'two_stream_vit'"),
        ("alexnet", {}, "known: two_stream_mobilevit"),
        ("two_stream_mobilevit", {"shard": True}, "did you mean 'shared'"),
        ("two_stream_mobilevit", {"size": "xl"}, "'size'.*'xxs'"),
        ("two_stream_efficientnet_lite0", {"dropout": 1.5}, "'dropout'.*less than 1"),
        ("two_stream_efficientnet_lite0", {"freeze": 11}, "'freeze'"),
    ],
)
def test_mistakes_are_named(name: str, kwargs: dict[str, object], hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        create_model(name, 3, **kwargs)


def test_no_network_for_the_hubs_weights_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def offline(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError("cannot find the requested files in the local cache")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"mobilevit_xs.*pretrained: false"):
        create_model("two_stream_mobilevit", 3, size="xs", pretrained=True)


def test_the_table_names_every_network() -> None:
    rows = model_table(3, (64, 64), 4, measure=lambda model, shape: (params(model), 8 * shape[1]))
    assert [row["name"] for row in rows] == list(MODELS)
    assert rows[0]["paper"] == "P1" and rows[0]["params"] == params(two_stream_mobilevit(3))
    assert rows[0]["macs"] == 32 and rows[0]["macs_per_frame"] == 8
    assert all(row["description"] for row in rows)
    assert {row["name"] for row in rows if row["pretrained"]} == {
        "two_stream_efficientnet_lite0",
        "efficientnet_frames",
        "frozen_efficientnet_lite0",
        "cnn_features_svm",
        "cnn_features_knn",
        "cnn_features_knn_svm",
        "frozen_frames_lite0",
    }
    assert {row["name"] for row in rows if not row["weights"]} == {
        "two_stream_cnn_m",
        "two_stream_shufflenet_v1",
        "two_stream_swin_c",
        "c3d",
        "two_stream_c3d",
        "tsn",
        "per_frame_cnn",
        "light_residual_net",
        "light_residual_net_small",
        "light_residual_net_bottleneck",
        "canny_cnn",
    }
    shown = format_table(rows)
    assert "3.24 M" in shown
    table, _, begin = shown.partition("To begin with:")
    listed = [line.split()[0] for line in table.splitlines()[1:] if line]
    assert listed == [row["name"] for row in sorted(rows, key=lambda row: row["macs"])]
    assert [line.split()[0] for line in begin.splitlines() if line] == list(RECOMMENDED)


def test_a_card_says_what_a_network_started_from() -> None:
    assert with_pretrained("frozen_efficientnet_lite0", {"pool": "mean"}) == {
        "pretrained": True,
        "pool": "mean",
    }
    assert with_pretrained("two_stream_resnet", {}) == {"pretrained": False}
    assert (
        with_pretrained("two_stream_resnet", {"pretrained": "a.safetensors"})["pretrained"] == "a.safetensors"
    )
