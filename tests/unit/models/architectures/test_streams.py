"""Fusions and positions: what meets where, and what is said of what cannot meet."""

import pytest
import torch
from torch import nn

from slimstream.core.errors import UserError
from slimstream.models import create_model
from slimstream.models.architectures.streams import AverageScores
from slimstream.models.layers.fusion import Convolution, FullyConnected
from slimstream.models.layers.heads import CosineHead
from tests.unit.models.random_clips import clip_of, params

WIDTH = 512
"""Channels of ResNet-18's last map."""


@pytest.mark.parametrize(
    ("fusion", "features", "of_fusion", "of_head"),
    [
        ("concat", 2 * WIDTH, 0, 3 * (2 * WIDTH + 1)),
        ("conv", WIDTH, WIDTH * (2 * WIDTH + 1), 3 * (WIDTH + 1)),
        ("fc", WIDTH, WIDTH * (2 * WIDTH + 1), 3 * (WIDTH + 1)),
        ("average", 2 * WIDTH, 0, 2 * 3 * (WIDTH + 1)),
    ],
)
def test_every_fusion_has_its_width(fusion: str, features: int, of_fusion: int, of_head: int) -> None:
    with torch.device("meta"):
        model = create_model("two_stream_resnet", 3, fusion=fusion)
        assert model.head.in_features == features
        assert (params(model.fusion), params(model.head)) == (of_fusion, of_head)
        assert model.features(clip_of(2).to("meta")).shape == (2, features)
        twice = create_model("two_stream_resnet", 3, fusion=fusion, pool="mean_std")
        assert twice.features(clip_of(2).to("meta")).shape == (2, 2 * features)


def test_convolutional_fusion_starts_as_the_mean_of_both_maps() -> None:
    rgb, flow = torch.randn(2, 2, 6, 3, 4)
    torch.testing.assert_close(Convolution(6)(rgb, flow), (rgb + flow) / 2)


def test_the_fully_connected_layer_sees_both_streams_whole() -> None:
    fusion = FullyConnected(6)
    rgb, flow = torch.randn(2, 2, 6, 3, 4)
    both = torch.cat((rgb.mean((2, 3)), flow.mean((2, 3))), 1)
    torch.testing.assert_close(fusion(rgb, flow), fusion.mix(both).relu()[..., None, None])


@pytest.mark.parametrize("pool", ["mean", "mean_std"])
def test_scores_are_averaged_stream_by_stream(pool: str) -> None:
    model = create_model("two_stream_mobilenet", 3, fusion="average", pool=pool).eval()
    clip, other = clip_of(3), clip_of(3).clone()
    other[:, :, 3:] = 128
    assert isinstance(model.head, AverageScores)
    with torch.no_grad():
        model.head.rgb.weight.mul_(100)
        features, without_flow = model.features(clip), model.features(other)
        rgb, flow = features.chunk(2, 1)
        torch.testing.assert_close(without_flow.chunk(2, 1)[0], rgb)
        assert not torch.allclose(without_flow.chunk(2, 1)[1], flow)
        mean = (model.head.rgb(rgb).softmax(1) + model.head.flow(flow).softmax(1)) / 2
        torch.testing.assert_close(model(clip).exp(), mean)


@pytest.mark.parametrize("standardise", [True, False])
def test_two_heads_fitted_elsewhere_are_taken_exactly(standardise: bool) -> None:
    model = create_model("two_stream_mobilenet", 3, fusion="average", standardise=standardise).eval()
    with torch.no_grad():
        features = model.features(clip_of(2))
        half = features.shape[1] // 2
        weight, bias = torch.randn(3, 2 * half) / 30, torch.randn(2, 3)
        mean, std = features.mean(0), torch.rand(2 * half) + 0.5
        model.set_head(weight, bias, mean, std)
        scaled = (features - mean) / std
        scores = [
            (scaled[:, part] @ weight[:, part].T + b).softmax(1)
            for part, b in zip((slice(half), slice(half, None)), bias, strict=True)
        ]
        torch.testing.assert_close(model(clip_of(2)).exp(), sum(scores) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("position", "upper"), [("mbconv4", ["mbconv6", "mbconv6", "last"]), ("mbconv6", ["last"])]
)
@pytest.mark.parametrize("shared", [False, True])
def test_one_trunk_goes_on_from_where_streams_meet(position: str, upper: list[str], shared: bool) -> None:
    model = create_model(
        "two_stream_efficientnetv2", 3, fusion="conv", position=position, shared=shared
    ).eval()
    whole = create_model("two_stream_efficientnetv2", 3, shared=True).rgb
    assert model.rgb.names[-1] == position and list(model.joint.names) == upper
    lower, above = params(model.rgb), params(model.joint)
    assert lower + above == params(whole)
    assert params(model) - params(model.head) - params(model.fusion) == (1 if shared else 2) * lower + above
    clip = clip_of(2)
    with torch.no_grad():
        features = model.features(clip)
        assert features.shape == (2, 1280)
        # At first the trunk goes on with the mean of both maps.
        rgb, flow = model.maps(clip)
        expected = model.joint((rgb + flow) / 2).mean((2, 3)).unflatten(0, (2, 2)).mean(1)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_flow_of_two_channels_has_no_magnitude() -> None:
    model = create_model("two_stream_resnet", 3, flow_channels=2).eval()
    first = model.flow.stages[0][0]
    assert first.in_channels == 2 and first.weight.shape[1] == 2
    with torch.no_grad():
        assert [x.shape[1] for x in model.normalise(clip_of(1).flatten(0, 1))] == [3, 2]
        assert model(clip_of(2)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("mobilenet", {"pool": "mean_std"}),
        ("efficientnetv2", {"fusion": "conv", "position": "mbconv4"}),
        ("lstm", {"backbone": "resnet"}),
        ("mobilevit", {"fusion": "fc"}),
    ],
)
def test_any_of_them_may_compare_angles(name: str, kwargs: dict[str, object]) -> None:
    with torch.device("meta"):
        model = create_model(f"two_stream_{name}", 3, head="cosine", **kwargs)
        assert isinstance(model.head, CosineHead)
        assert model(clip_of(2).to("meta")).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "kwargs", "complaint"),
    [
        (
            "resnet",
            {"fusion": "conv", "position": "mbconv4"},
            "no stage 'mbconv4'.*it has stem, layer1, .*, fc",
        ),
        ("resnet", {"fusion": "conv", "position": "layer4"}, "no stage 'layer4'"),
        ("efficientnetv2", {"position": "mbconv7"}, "it has .*mbconv4, mbconv6, fc"),
        ("efficientnetv2", {"position": "mbconv4"}, "after 'mbconv4' need fusion: conv.*'concat' fits"),
        ("resnet", {"shared": True, "flow_channels": 2}, "two-channel flow into a shared backbone"),
        ("resnet", {"fusion": "average", "head": "cosine"}, "average fusion .* head: cosine does not"),
        ("efficientnet_lite0", {"fusion": "fc", "grid": 3}, "fc fusion leaves no map"),
        ("resnet", {"freeze": 6}, "6 stages cannot be frozen, the backbone has 5"),
        ("resnet", {"fusion": "sum"}, "'fusion'.*'average'"),
        ("resnet", {"shard": True}, "no setting 'shard'; did you mean 'shared'"),
        ("resnet", {"size": 19}, "'size'"),
        ("lstm", {"fusion": "average"}, "an LSTM reads fused features"),
        ("lstm", {"pretrained": True}, "cnn_m has no ImageNet weights"),
        ("lstm", {"pool": "mean"}, "no setting 'pool'; known: backbone, hidden"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_sentence(
    name: str, kwargs: dict[str, object], complaint: str
) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=complaint):
        create_model(f"two_stream_{name}", 3, **kwargs)


def test_an_lstm_reads_frames_in_their_order() -> None:
    torch.manual_seed(0)  # with some weights the LSTM is saturated, and the order changes little
    model = create_model("two_stream_lstm", 3, backbone="mobilenet", fusion="fc", hidden=8).eval()
    lstm = model.pool.lstm
    assert (lstm.input_size, lstm.hidden_size, model.head.in_features) == (1280, 8, 8)
    assert params(model.pool) == 4 * 8 * (1280 + 8 + 2)
    clip = clip_of(4)
    with torch.no_grad():
        frames = model.frame_features(clip)
        torch.testing.assert_close(model.features(clip), lstm(frames)[1][0][0])
        nn.init.normal_(lstm.weight_ih_l0)
        assert not torch.allclose(model.features(clip), model.features(clip.flip(1)), atol=1e-3)
