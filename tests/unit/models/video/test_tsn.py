import pytest
import torch

from slimstream.models.video.tsn import BNInception, tsn
from tests.unit.models.random_clips import clip_of, params


def test_bn_inception_has_its_published_size() -> None:
    with torch.device("meta"):
        net, model = BNInception(), tsn(3)
    # 11.3 M with the 1000 classes of ImageNet; biases before batch norm, which do nothing, are left out here.
    assert params(net) + 1025 * 1000 == pytest.approx(11.295e6, rel=0.002)
    assert net.channels == 1024
    assert params(model) == 2 * params(net) + 3 * 2049


def test_scores_are_averaged_over_segments_and_streams() -> None:
    torch.manual_seed(0)
    model = tsn(3).eval()
    clip = clip_of(3, batch=1)
    weight, bias = model.head.weight, model.head.bias
    with torch.no_grad():
        scores = []
        for t in range(3):
            rgb, flow = (m.mean((2, 3)) for m in model.maps(clip[:, t : t + 1]))
            # The joint layer is both streams' own layers, each with half of the say.
            scores += [rgb @ (2 * weight[:, :1024]).T + bias, flow @ (2 * weight[:, 1024:]).T + bias]
        torch.testing.assert_close(model(clip), torch.stack(scores).mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [(48, 80), 65])
def test_any_size(side: int | tuple[int, int]) -> None:
    model = tsn(3).eval()
    with torch.no_grad():
        assert model(clip_of(1, batch=1, side=side)).isfinite().all()
