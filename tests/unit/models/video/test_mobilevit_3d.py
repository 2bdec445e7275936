import pytest
import torch
from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.models.cost import count_macs
from slimstream.models.two_stream.mobilevit import two_stream_mobilevit
from slimstream.models.video.mobilevit_3d import mobilevit_3d
from slimstream.stages.prune.pruning import recalibrate_batch_norm
from tests.unit.models.random_clips import clip_of, params


def flat_network() -> nn.Module:
    """A 2-D MobileViT-xxs whose batch norms have seen something."""
    import timm

    torch.manual_seed(0)
    net = timm.create_model("mobilevit_xxs", num_classes=0).train()
    with torch.no_grad():
        for _ in range(2):
            net(torch.rand(4, 3, 64, 64))
    return net.eval()


def moving(still: Tensor, frames: int) -> Tensor:
    """(B, 1, C, H, W) to a clip that moves to the right by 4 pixels a frame."""
    return torch.cat([still.roll(4 * t, -1) for t in range(frames)], 1)


@pytest.mark.parametrize("side", [64, (80, 96)])
@pytest.mark.parametrize("frames", [1, 2, 3, 6])
def test_at_first_a_still_clip_is_seen_as_its_picture(frames: int, side: int | tuple[int, int]) -> None:
    flat, model = flat_network(), mobilevit_3d(3).eval()
    model.rgb.load_2d_weights(list(flat.state_dict().values()))
    picture = clip_of(1, channels=3, side=side)
    with torch.no_grad():
        wanted = flat(picture[:, 0].float() / 255)
        seen = model.frame_features(picture.expand(-1, frames, -1, -1, -1))
    assert seen.shape == (2, frames, 320) and wanted.std() > 0.01
    torch.testing.assert_close(seen, wanted[:, None].expand_as(seen), rtol=1e-4, atol=1e-5)


def test_it_costs_a_third_of_two_streams() -> None:
    with torch.device("meta"):
        models = [mobilevit_3d(3, size=size) for size in ("xxs", "xs", "s")]
        two = two_stream_mobilevit(3)
    assert [params(m) / 1e6 for m in models] == pytest.approx([1.03, 2.06, 5.25], rel=0.01)
    assert params(models[0]) < params(two) / 3
    shape = (1, 8, 5, 128, 128)
    assert count_macs(models[0], shape) < 0.7 * count_macs(two, shape)


def test_attention_alone_joins_distant_frames() -> None:
    torch.manual_seed(0)
    model = mobilevit_3d(3).eval()
    recalibrate_batch_norm(model, [clip_of(8)])
    clip = clip_of(8, batch=1)
    other = clip.clone()
    other[:, 6] = 0  # in its patch at the place that frame 0 has in its own
    with torch.no_grad():
        assert (model.frame_features(clip) - model.frame_features(other))[:, 0].abs().max() > 1e-4


def test_it_learns_from_motion() -> None:
    """The temporal kernels get a gradient, and with other values the order of frames matters."""
    torch.manual_seed(0)
    model = mobilevit_3d(3)
    clip = moving(clip_of(1), 4)
    model.train()(clip).square().sum().backward()
    times = [m.time for m in model.modules() if isinstance(getattr(m, "time", None), nn.Conv2d)]
    assert len(times) == 1 + 7 + 2 * 3
    assert all(t.weight.grad is not None and t.weight.grad[:, :, 0].abs().max() > 0 for t in times)
    with torch.no_grad():
        for time in times:
            time.weight[:, :, 0] += 0.3 * torch.randn_like(time.weight[:, :, 0])
        recalibrate_batch_norm(model, [clip])
        ahead, back = model.eval().features(clip), model.features(clip.flip(1))
    assert (ahead - back).abs().max() > 1e-4


def test_a_repeated_last_frame_is_not_counted() -> None:
    model = mobilevit_3d(3, pool="mean_std").eval()
    clip = clip_of(3)
    with torch.no_grad():
        features = model.frame_features(clip)
        assert features.shape == (2, 3, 320)
        torch.testing.assert_close(model.features(clip)[:, :320], features.mean(1))


def test_no_network_for_the_hubs_weights_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def offline(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError("not in the local cache")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"mobilevit_xs.*pretrained: false"):
        mobilevit_3d(3, size="xs", pretrained=True)
