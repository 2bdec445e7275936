import copy
import json
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.models import create_model
from slimstream.models.cost import count_params
from slimstream.models.surgery import rebuild
from slimstream.models.two_stream.mobilevit import two_stream_mobilevit
from slimstream.stages.prune.pruning import check_leave, prune_channels, recalibrate_batch_norm
from tests.unit.models.large import mark_large

torch.set_num_threads(1)

NETWORKS = mark_large(
    [
        ("two_stream_mobilevit", {}),
        ("two_stream_mobilevit", {"shared": True, "pool": "mean_std"}),
        ("two_stream_mobilevit", {"shortcut": False, "head": "cosine"}),
        ("two_stream_efficientnet_lite0", {"pretrained": False}),
        ("two_stream_efficientnet_lite0", {"pretrained": False, "features": "head", "freeze": 3}),
        ("two_stream_efficientnet_lite0", {"pretrained": False, "depth": 4}),
        ("efficientnet_frames", {"pretrained": False, "depth": 5, "freeze": 2}),
        ("efficientnet_frames", {"pretrained": False, "depth": 3, "stream": "flow"}),
        ("light_residual_net_small", {}),
        ("resnet18", {}),
        ("two_stream_mobilenet", {"fusion": "average", "pool": "mean_std"}),
        ("two_stream_shufflenet", {}),
        ("two_stream_squeezenet", {}),
        ("two_stream_vit", {}),
        ("two_stream_cnn_m", {"width": 0.125}),
        ("two_stream_lstm", {"backbone": "mobilenet", "hidden": 32}),
        ("two_stream_resnet", {"fusion": "fc"}),
        ("two_stream_inception", {}),
        ("two_stream_efficientnetv2", {"fusion": "conv", "position": "mbconv4"}),
        ("mobilevit_3d", {"pool": "mean_std"}),
        ("two_stream_swin_c", {"width": 24}),
        ("c3d", {"width": 0.125}),
        ("two_stream_i3d", {}),
        ("per_frame_cnn", {"width": 0.125}),
    ]
)


def clip_of(frames: int = 2, batch: int = 1, channels: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (batch, frames, channels, 64, 64)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def give_every_weight_its_own_value(model: nn.Module) -> None:
    """So that a kept value tells where it was; sizes as after an initialisation, running means not zero."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            scale = 1.5 / max(1.0, tensor[0].numel() ** 0.5) if tensor.ndim > 1 else 0.5
            values = torch.linspace(-scale, scale, tensor.numel())[
                torch.randperm(tensor.numel(), generator=generator)
            ]
            one_sided = tensor.ndim == 1 and name.endswith(("weight", "running_var"))
            tensor.copy_((values + 1.0 if one_sided else values).view_as(tensor))


@pytest.mark.parametrize(("name", "kwargs"), NETWORKS)
def test_a_pruned_network_is_the_original_with_those_channels_silent(
    name: str, kwargs: dict[str, object]
) -> None:
    torch.manual_seed(0)
    model = create_model(name, 3, **kwargs).eval()
    give_every_weight_its_own_value(model)
    original = copy.deepcopy(model)
    # Layer norm averages over its channels, so only its own may not go.
    leave = [n for n, m in model.named_modules() if isinstance(m, nn.LayerNorm)]
    clip = clip_of(frames=3, batch=2, channels=max(model.channels))
    prune_channels(model, clip, rate=0.4, leave=["head", *leave])

    kept = dict(model.named_parameters())
    narrower: list[bool] = []
    with torch.no_grad():
        for key, p in original.named_parameters():
            p.mul_(torch.isin(p, kept[key], assume_unique=True))
        if isinstance(getattr(original, "standardise", None), nn.BatchNorm1d):
            gone = ~torch.isin(original.standardise.running_mean, model.standardise.running_mean)
            original.head.weight[:, gone] = 0
        for a, b in zip(original.modules(), model.modules(), strict=True):
            if hasattr(a, "qkv"):
                narrower.append(b.qkv.out_features < a.qkv.out_features)
                a.fused_attn, a.scale = False, b.scale
        silenced, pruned = original(clip), model(clip)
    assert count_params(model) < 0.9 * count_params(original)
    assert 2 * sum(narrower) >= len(narrower)  # attentions, where there are any
    assert silenced.std() > 0.01
    torch.testing.assert_close(pruned, silenced, rtol=1e-3, atol=1e-3 * float(silenced.abs().max()))


@pytest.mark.parametrize(("name", "kwargs"), NETWORKS)
def test_json_and_weights_rebuild_it_bit_by_bit(name: str, kwargs: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = create_model(name, 3, **kwargs).train()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    modes = [m.training for m in model.modules()]
    channels = max(model.channels)
    report = prune_channels(model, clip_of(channels=channels), rate=0.5)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == trained
    assert [m.training for m in model.modules()] == modes
    assert report.params_after == count_params(model) < report.params_before

    again = rebuild(create_model(name, 3, **kwargs), json.loads(json.dumps(report.history)))
    again.load_state_dict(model.state_dict())
    clip = clip_of(frames=3, channels=channels)
    with torch.no_grad():
        assert torch.equal(again.eval()(clip), model.eval()(clip))
    model.train()(clip_of(batch=2, channels=channels)).sum().backward()


def test_the_papers_size_is_reached() -> None:
    torch.manual_seed(0)
    model = create_model("two_stream_mobilevit", 3)
    report = prune_channels(model, clip_of(), target_params=0.66)
    assert count_params(model) == pytest.approx(2.13e6, rel=0.02)
    assert 0.3 < report.effective_rate < 0.5


def test_the_fusion_may_be_pruned_too_and_channels_rounded() -> None:
    model = two_stream_mobilevit(3)
    prune_channels(model, clip_of(), rate=0.5, leave=["head"], round_to=4)
    assert model.fusion.attention.in_channels < 640 and model.fusion.attention.out_channels < 640
    assert all(m.out_channels % 4 == 0 for m in model.modules() if isinstance(m, nn.Conv2d))
    assert model.eval()(clip_of()).isfinite().all()


def test_frozen_stages_and_residual_sums_can_be_left_alone() -> None:
    model = create_model("two_stream_efficientnet_lite0", 3, pretrained=False, freeze=6)
    widths = {n: m.out_channels for n, m in model.named_modules() if n.endswith("conv_pwl")}
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    report = prune_channels(model, clip_of(), target_params=0.66, leave=["head", "*.conv_pwl"], round_to=8)
    assert {n: m.out_channels for n, m in model.named_modules() if n.endswith("conv_pwl")} == widths
    assert {n: p for n, p in model.named_parameters() if not p.requires_grad}.keys() == frozen.keys()
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    assert report.params_after == pytest.approx(0.66 * report.params_before, rel=0.02)
    assert all(m.out_channels % 8 == 0 for m in model.modules() if isinstance(m, nn.Conv2d))


def test_recalibration_leaves_what_is_frozen() -> None:
    model = create_model("two_stream_efficientnet_lite0", 3, pretrained=False, freeze=2)
    norms = [model.rgb.stages[0][1], model.rgb.stages[1][0].bn1, model.rgb.stages[2][0].bn1]
    before = [norm.running_mean.clone() for norm in norms]
    recalibrate_batch_norm(model, [clip_of(frames=3)])
    kept = [torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True)]
    assert kept == [True, True, False]


@pytest.mark.parametrize("frozen_bn", [True, False])
def test_recalibration_takes_the_statistics_of_what_it_is_shown(frozen_bn: bool) -> None:
    torch.manual_seed(0)
    model = create_model("two_stream_efficientnet_lite0", 3, pretrained=False, frozen_bn=frozen_bn).train()
    modes = [m.training for m in model.modules()]
    clips = [clip_of(frames=4), clip_of(frames=2, batch=2)]
    recalibrate_batch_norm(model, clips)
    assert [m.training for m in model.modules()] == modes
    with torch.no_grad():
        stem = model.rgb.stages[0][0]
        means = [stem(model.normalise(clip.flatten(0, 1))[0]).mean((0, 2, 3)) for clip in clips]
        features = torch.cat([model.eval().features(clip) for clip in clips])
    norm = model.rgb.stages[0][1]
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0), rtol=1e-3, atol=1e-4)
    assert norm.momentum == 0.1 and model.standardise.num_batches_tracked == 2
    assert features.isfinite().all()


def test_a_leftover_of_one_clip_does_not_count_in_recalibration() -> None:
    norm = nn.BatchNorm1d(1)
    assert norm.running_mean is not None
    recalibrate_batch_norm(nn.Sequential(norm), [torch.tensor([[0.0], [2.0]]), torch.tensor([[100.0]])])
    assert norm.running_mean.item() == pytest.approx(1.0)
    maps = nn.BatchNorm2d(1)
    assert maps.running_mean is not None
    recalibrate_batch_norm(nn.Sequential(maps), [torch.full((1, 1, 2, 2), value) for value in (1.0, 3.0)])
    assert maps.running_mean.item() == pytest.approx(2.0)  # long clips: every batch is one


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("two_stream_mobilevit", {"leave": []}),  # attention
        pytest.param("two_stream_swin_c", {"round_to": 4}, marks=pytest.mark.box),  # windows
        ("light_residual_net_small", {}),
        ("light_residual_net_small", {"round_to": 4}),
        ("light_residual_net_small", {"importance": "bn_scale"}),  # all scales are 1: a tie of all channels
        ("two_stream_efficientnet_lite0", {"leave": ["*.conv_pwl"], "round_to": 8}),
    ],
)
def test_a_higher_rate_never_leaves_more_and_what_is_told_is_what_went(
    name: str, how: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    smaller = {"two_stream_swin_c": {"width": 24}, "two_stream_mobilevit": {"shared": True}}
    kwargs = {"pretrained": False} | smaller.get(name, {})
    original = create_model(name, 3, **kwargs)
    clip = clip_of(channels=max(original.channels))
    kept, highest = [], 1.0
    for rate in (0.05, 0.5, 0.8, 0.9, 0.99):
        model = copy.deepcopy(original)
        try:
            report = prune_channels(model, clip, rate=rate, **how)
        except UserError as refused:
            told = re.search(r"highest rate that works .* is ([\d.]+)\.$", str(refused))
            assert told
            highest = float(told[1])
            assert kept and highest < rate
            report = prune_channels(model, clip, rate=highest, **how)
            rate = highest
        assert (
            report.effective_rate >= rate - 1e-3
            if how
            else report.effective_rate == pytest.approx(rate, abs=0.01)
        )
        assert model.eval()(clip).shape == (1, 3)  # the classes stay, whatever `leave` says
        kept.append(report.params_after)
        if highest < 1:
            break
    assert kept == sorted(kept, reverse=True) and kept[0] < count_params(original)
    assert kept[-1] < 0.5 * kept[0]


def test_where_everything_is_frozen_nothing_goes_and_nothing_is_told_to_have_gone() -> None:
    model = create_model("cnn_features_knn", 3, pretrained=False)
    report = prune_channels(model, clip_of(), rate=0.5)
    assert (report.effective_rate, report.history) == (0.0, {})
    assert report.params_after == report.params_before


def test_no_layer_loses_all_its_channels() -> None:
    model = two_stream_mobilevit(3, shared=True)
    with torch.no_grad():
        model.rgb.stages[1][1].conv2_kxk.conv.weight.mul_(1e-6)
    prune_channels(model, clip_of(), rate=0.9)
    assert min(m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)) >= 1
    assert model.eval()(clip_of()).isfinite().all()


class Small(nn.Module):
    """Two layers of four channels, with batch norms whose scales are given."""

    def __init__(self, *scales: list[float]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(5, 4, 3), nn.Conv2d(4, 4, 3)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in scales)
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            for norm, values in zip(self.norms, scales, strict=True):
                norm.weight.copy_(torch.tensor(values))

    def forward(self, clip: Tensor) -> Tensor:
        x = self.norms[0](self.first(clip.flatten(0, 1).float())).relu()
        return self.head(self.norms[1](self.second(x)).mean((2, 3)))


def test_slimming_removes_the_least_scales_of_all_layers_whatever_the_weights() -> None:
    model = Small([0.9, -0.1, 0.02, 0.8], [0.3, 0.4, -0.01, 0.5])
    with torch.no_grad():
        model.first.weight[1:3] *= 100  # by L1 norm these would be the last to go
    first = model.first.weight.clone()
    prune_channels(model, clip_of(), rate=3 / 8, importance="bn_scale", leave=["head"])
    assert [norm.weight.tolist() for norm in model.norms] == [
        pytest.approx([0.9, 0.8]),
        pytest.approx([0.3, 0.4, 0.5]),
    ]
    assert torch.equal(model.first.weight, first[[0, 3]])
    assert model.second.weight.shape[:2] == (3, 2) and model.head.in_features == 3


def test_without_batch_norms_that_learn_slimming_has_nothing_to_rank() -> None:
    model = create_model("frozen_efficientnet_lite0", 3, pretrained=False)
    with pytest.raises(UserError, match=r"bn_scale.*choose l1"):
        prune_channels(model, clip_of(), rate=0.5, importance="bn_scale")


def test_an_impossible_target_is_refused() -> None:
    model = create_model("per_frame_cnn", 3, width=0.125)
    with pytest.raises(UserError, match=r"target_params 0\.1 .*0\.3\d\d of the parameters.*larger"):
        prune_channels(model, clip_of(), target_params=0.1, leave=["head", "*.hidden.*"])


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("haed", "did you mean 'head'"),
        ("*.conv_pw1", "'*.conv_pwl'"),
        ("rgb.stagse.*", "'rgb.stages"),
        ("conv_pwl", "conv_pwl'"),
        ("nothing-like-it", "it has rgb, flow, head"),
    ],
)
def test_a_pattern_that_names_no_layer_is_refused_with_those_that_are_near(pattern: str, hint: str) -> None:
    model = create_model("two_stream_efficientnet_lite0", 3, pretrained=False)
    with pytest.raises(UserError) as refused:
        prune_channels(model, clip_of(), rate=0.5, leave=["head", pattern])
    assert f"prune.leave: '{pattern}' matches no layer" in str(refused.value) and hint in str(refused.value)


def test_a_recipe_may_keep_its_fusion_for_a_network_that_has_none() -> None:
    check_leave(create_model("light_residual_net_small", 3), ["fusion", "head"])


@pytest.mark.parametrize("name", ["efficientnet_frames", "two_stream_efficientnet_lite0"])
def test_a_network_with_cells_loses_channels_of_its_last_layer_too(name: str) -> None:
    model = create_model(name, 3, pretrained=False, depth=1, grid=2)
    channels = 3 if name == "efficientnet_frames" else 5
    clip = torch.zeros(1, 2, channels, 64, 64, dtype=torch.uint8)
    before = model.head.in_features
    prune_channels(model, clip, rate=0.4)
    assert model.head.in_features == model.standardise.num_features < before
    assert model.eval()(clip).shape == (1, 3)
