import pytest
import torch
from torch import nn

from slimstream.core.errors import UserError
from slimstream.models.video.i3d import InceptionV1, i3d, two_stream_i3d
from tests.unit.models.random_clips import clip_of, params


def test_it_has_the_published_size() -> None:
    with torch.device("meta"):
        one, two, kinetics = i3d(3), two_stream_i3d(3), i3d(400)
    assert params(one) == pytest.approx(12.3e6, rel=0.005)
    assert params(kinetics) == pytest.approx(12.7e6, rel=0.005)
    assert params(two) == pytest.approx(25e6, rel=0.02)  # Carreira & Zisserman, Table 1
    assert one.channels == {3, 5} and two.channels == {5}


@pytest.mark.parametrize(("frames", "instants"), [(1, 1), (2, 1), (8, 1), (9, 2), (16, 2)])
def test_any_length(frames: int, instants: int) -> None:
    torch.manual_seed(0)
    model = i3d(3).eval()
    clip = clip_of(frames, batch=1, side=(32, 48))
    with torch.no_grad():
        assert model.frame_features(clip).shape == (1, instants, 1024)
        assert model(clip).isfinite().all()


def test_two_streams_meet_instant_by_instant() -> None:
    model = two_stream_i3d(3).eval()
    clip = clip_of(9, batch=2, side=32)
    with torch.no_grad():
        features = model.frame_features(clip)
        assert features.shape == (2, 2, 2048)
        still = clip.clone()
        still[:, :, 3:] = 128
        change = (model.frame_features(still) - features).abs().amax((0, 1))
    assert change[:1024].max() == 0 and change[1024:].max() > 0


def test_an_inflated_network_sees_a_still_clip_as_the_2d_network_sees_its_picture() -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    flat = models.googlenet(weights=None, init_weights=False, aux_logits=False, transform_input=False).eval()
    net = InceptionV1([v for k, v in flat.state_dict().items() if not k.startswith(("aux", "fc"))]).eval()
    for module in net.modules():  # no rim in time, where a 3-D network sees nothing beyond the clip
        if isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1:
            module.register_forward_pre_hook(_with_neighbours(module.padding[0]))
            module.padding = (0, *module.padding[1:])
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        flat.fc, flat.dropout = nn.Identity(), nn.Identity()
        wanted = flat(picture)
        seen = net(picture.unsqueeze(2).expand(-1, -1, 8, -1, -1)).mean((3, 4))
    assert wanted.std() > 0
    torch.testing.assert_close(seen[:, :, 0], wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


def _with_neighbours(rim: int):  # type: ignore[no-untyped-def]
    return lambda _, inputs: nn.functional.pad(inputs[0], (0, 0, 0, 0, rim, rim), mode="replicate")


def test_no_network_for_the_weights_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(UserError, match=r"Inception-v1.*pretrained: false"):
        i3d(3, pretrained=True)
