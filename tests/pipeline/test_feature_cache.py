"""Frozen layers are computed once, and nothing about the answers shows it."""

from pathlib import Path

import pytest
import torch

from slimstream.datasets.dataset import Batch
from slimstream.models import create_model
from slimstream.training import feature_cache
from slimstream.training.feature_cache import cache_frozen_features


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    clip = torch.randint(0, 256, (2, 3, 5, 64, 64), generator=generator, dtype=torch.uint8)
    return Batch(torch.arange(2), clip, torch.tensor([0, 1]), 2)


def test_a_network_answers_alike_from_its_trunk(batch: Batch, tmp_path: Path) -> None:
    model = create_model("two_stream_efficientnet_lite0", 3, freeze=6).eval()
    short = next(iter(cache_frozen_features(model, [batch], tmp_path)))
    assert short.clip.shape[:3] == (2, 3, 2) and short.clip.shape[3:] == (112, 4, 4)
    with torch.inference_mode():
        assert torch.allclose(model(short.clip), model(batch.clip), atol=1e-2)
        assert torch.equal(model.maps(model.frozen_features(batch.clip))[1], model.maps(batch.clip)[1])


def test_networks_with_the_same_weights_and_another_dilation_do_not_share(
    batch: Batch, tmp_path: Path
) -> None:
    plain = create_model("two_stream_efficientnetv2", 3, freeze="all").eval()
    dilated = create_model("two_stream_dilated_efficientnetv2", 3, freeze="all").eval()
    dilated.load_state_dict(plain.state_dict())
    maps = [next(iter(cache_frozen_features(net, [batch], tmp_path))).clip for net in (plain, dilated)]
    own = dilated.frozen_features(batch.clip)
    assert (maps[1].float() - own).norm() < 0.01 * own.norm() < 0.1 * (maps[0].float() - own).norm()


def test_what_follows_the_trunk_learns(batch: Batch, tmp_path: Path) -> None:
    model = create_model("two_stream_efficientnet_lite0", 3, freeze=6).train()
    # Made while the trunk is at work, as a training's are: labels are kept for the gradient, too.
    made = (Batch(batch.indices.clone(), batch.clip.clone(), batch.labels.clone(), 2) for _ in range(1))
    short = next(iter(cache_frozen_features(model, made, tmp_path)))
    torch.nn.functional.cross_entropy(model(short.clip), short.labels).backward()
    learnt = {
        name.split(".stages.")[1][0] for name, p in model.rgb.named_parameters("rgb") if p.grad is not None
    }
    assert learnt == {"6", "7"}


def test_what_was_computed_once_is_read(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next(iter(cache_frozen_features(create_model("frozen_efficientnet_lite0", 3), [batch], tmp_path)))
    again = create_model("frozen_efficientnet_lite0", 3)
    monkeypatch.setattr(again, "frozen_features", lambda clip: pytest.fail("computed again"))
    # One clip and one frame fewer: what counts is the frame, not the batch it came in.
    part = Batch(batch.indices[:1], batch.clip[:1, 1:], batch.labels[:1], 1)
    assert torch.equal(next(iter(cache_frozen_features(again, [part], tmp_path))).clip, first.clip[:1, 1:])


def test_a_network_that_learns_more_finds_what_a_wholly_frozen_one_has_made(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = create_model("frozen_efficientnet_lite0", 3).eval()
    deep = next(iter(cache_frozen_features(frozen, [batch], tmp_path)))
    learning = create_model("two_stream_efficientnet_lite0", 3, freeze=6).eval()
    expected = learning.frozen_features(batch.clip).half()
    monkeypatch.setattr(learning, "frozen_features", lambda clip: pytest.fail("computed again"))
    short = next(iter(cache_frozen_features(learning, [batch], tmp_path)))
    assert torch.allclose(short.clip, expected.float(), atol=1e-2)
    with torch.inference_mode():
        assert torch.equal(torch.stack(learning.maps(short.clip), 1).half().float(), deep.clip.flatten(0, 1))


def test_other_weights_have_files_of_their_own(batch: Batch, tmp_path: Path) -> None:
    pretrained, random = (create_model("frozen_efficientnet_lite0", 3, pretrained=p) for p in (True, False))
    one, other = (next(iter(cache_frozen_features(m, [batch], tmp_path))).clip for m in (pretrained, random))
    assert not torch.equal(one, other)


def test_other_code_of_the_networks_has_files_of_its_own(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = create_model("frozen_efficientnet_lite0", 3)
    next(iter(cache_frozen_features(model, [batch], tmp_path)))
    monkeypatch.setattr(feature_cache, "_code", lambda: "other code")
    next(iter(cache_frozen_features(model, [batch], tmp_path)))
    folders = list((tmp_path / "trunk").iterdir())
    assert len(folders) == 4  # of its first stages, which other networks share, and of all: by either code


def test_a_network_that_learns_throughout_sees_the_pixels(batch: Batch, tmp_path: Path) -> None:
    for name in ("two_stream_mobilevit", "two_stream_efficientnet_lite0"):
        assert next(iter(cache_frozen_features(create_model(name, 3), [batch], tmp_path))) is batch
    assert not list(tmp_path.iterdir())


def test_black_pictures_of_another_size_are_other_pictures(tmp_path: Path) -> None:
    model = create_model("frozen_efficientnet_lite0", 3).eval()
    for shape in ((64, 96), (96, 64)):
        black = Batch(torch.arange(1), torch.zeros(1, 1, 5, *shape, dtype=torch.uint8), torch.tensor([0]), 1)
        expected = model.frozen_features(black.clip).half().float()
        seen = next(iter(cache_frozen_features(model, [black], tmp_path))).clip
        assert seen.shape == expected.shape and torch.allclose(seen, expected, atol=0.02)
