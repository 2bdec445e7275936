"""What networks that see a clip at once have in common."""

import pytest
import torch

from slimstream.core.errors import UserError
from slimstream.models import MODELS, check_channels, create_model
from slimstream.models.architectures.volumes import Resize, to_pictures, to_volume
from tests.unit.models.random_clips import clip_of

ONE_STREAM = {"mobilevit_3d": {}, "c3d": {"width": 0.125}, "per_frame_cnn": {"width": 0.125}}


def test_frames_and_volume_are_inverses() -> None:
    x = torch.randn(2, 3, 5, 4, 6)
    assert to_pictures(x).shape == (10, 3, 4, 6)
    assert torch.equal(to_pictures(x)[5:], x[1].transpose(0, 1))
    assert torch.equal(to_volume(to_pictures(x), 2), x)


def test_frames_are_spread_over_the_clip_and_repeated_when_there_are_few() -> None:
    def shown(length: int) -> list[int]:
        x = torch.arange(length, dtype=torch.float32).view(1, 1, length, 1, 1).expand(1, 1, length, 8, 8)
        return Resize(side=8, frames=4)(x)[0, 0, :, 0, 0].int().tolist()

    assert shown(4) == [0, 1, 2, 3]
    assert shown(16) == [2, 6, 10, 14]
    assert shown(2) == [0, 0, 1, 1]
    assert shown(1) == [0, 0, 0, 0]


def test_pictures_of_any_size_are_brought_to_the_one_that_fits() -> None:
    x = torch.randn(2, 3, 5, 12, 20)
    y = Resize(side=8)(x)
    assert y.shape == (2, 3, 5, 8, 8)
    torch.testing.assert_close(
        y[1, :, 3], torch.nn.functional.interpolate(x[1, :, 3][None], (8, 8), mode="bilinear")[0]
    )
    same = torch.randn(1, 3, 2, 8, 8)
    assert Resize(side=8)(same) is same


@pytest.mark.parametrize(("name", "kwargs"), ONE_STREAM.items())
def test_a_network_on_pictures_looks_at_nothing_else(name: str, kwargs: dict[str, float]) -> None:
    model = create_model(name, 3, **kwargs).eval()
    clip = clip_of(3)
    assert model.channels == {3, 5} and not hasattr(model, "flow")
    with torch.no_grad():
        assert torch.equal(model(clip), model(clip[:, :, :3]))


@pytest.mark.parametrize(("name", "kwargs"), ONE_STREAM.items())
def test_a_head_fitted_elsewhere_is_taken(name: str, kwargs: dict[str, float]) -> None:
    model = create_model(name, 3, **kwargs).eval()
    with torch.no_grad():
        features = model.features(clip_of(2))
        width = features.shape[1]
        weight, bias = torch.randn(3, width), torch.randn(3)
        mean, std = torch.randn(width), torch.rand(width) + 0.1
        model.set_head(weight, bias, mean, std)
        expected = (features - mean) / std @ weight.T + bias
        torch.testing.assert_close(model(clip_of(2)), expected, rtol=1e-3, atol=1e-2)


def test_clips_of_the_wrong_kind_are_refused_in_a_sentence() -> None:
    with torch.device("meta"):
        two, one = create_model("two_stream_mobilevit", 3), create_model("mobilevit_3d", 3)
    for model, channels in ((two, 5), (one, 5), (one, 3)):
        check_channels(model, channels)
    with pytest.raises(UserError, match=r"takes RGB pictures with optical flow \(5 channels\), but .* \(3\)"):
        check_channels(two, 3)
    with pytest.raises(UserError, match=r"takes RGB pictures \(3 channels\) or .* grey pictures \(1\)"):
        check_channels(one, 1)


@pytest.mark.parametrize("name", MODELS)
def test_every_network_says_which_clips_it_takes(name: str) -> None:
    with torch.device("meta"):
        assert create_model(name, 3, pretrained=False).channels <= {1, 3, 5}


@pytest.mark.parametrize(
    ("name", "kwargs", "hint"),
    [
        ("c3d", {"pretrained": True}, "'pretrained'.*False"),
        ("c3d", {"width": 2}, "'width'.*less than or equal to 1"),
        ("two_stream_swin_c", {"width": 70}, "'width'.*multiple of 24"),
        ("mobilevit_3d", {"size": "xl"}, "'size'.*'xxs'"),
        ("i3d", {"drop_out": 0.1}, "did you mean 'dropout'"),
        ("tsn", {"dropout": 1}, "'dropout'.*less than 1"),
        ("per_frame_cnn", {"pool": "mean"}, "no setting 'pool'"),
    ],
)
def test_mistakes_are_named(name: str, kwargs: dict[str, object], hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        create_model(name, 3, **kwargs)
