"""Layers that training leaves as they are can be pruned, too: that is where the time goes."""

import pytest
import torch

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.models import create_model
from slimstream.models.checkpoint import load_model
from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.stages import STAGES
from slimstream.training.study import Study
from tests.pipeline import tiny_study

HEAD = {"head": 1.0, "epochs": 0}
PRUNE = {"rate": 0.4, "leave": ["head", "*.conv_pwl"], "round_to": 8, "restore": 1e-3, "fit": HEAD}


@pytest.fixture
def study(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> tuple[Paths, Params]:
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    network = {"model": "two_stream_efficientnet_lite0", "model_args": {"freeze": 4}, "fit": HEAD}
    paths = tiny_study.study(tmp_path_factory.mktemp("study"), train=network, prune=PRUNE)
    params = load_params(paths.params)
    STAGES["train"].run(params, paths, null_log)
    return paths, params


def test_frozen_layers_keep_their_channels_unless_told_otherwise(study: tuple[Paths, Params]) -> None:
    paths, params = study
    original, _ = load_model(paths.model("original"), create_model)

    def pruned(**settings: object) -> tuple[dict[str, float], torch.nn.Module]:
        p = params.model_copy(update={"prune": params.prune.model_copy(update=settings)})
        metrics = STAGES["prune"].run(p, paths, null_log)
        return metrics, load_model(paths.model("pruned"), create_model)[0]

    def width(model: torch.nn.Module, stage: int) -> int:
        return model.get_parameter(f"flow.stages.{stage}.0.conv_dw.weight").shape[0]

    kept, left = pruned(restore_clips=8)
    cut, through = pruned(frozen=True, restore_clips=8)
    assert width(left, 2) == width(original, 2) and width(left, 6) < width(original, 6)
    assert width(through, 2) < width(original, 2)
    assert cut["after.macs"] < 0.9 * kept["after.macs"]
    assert cut["restore.layers"] > kept["restore.layers"] and cut["restore.after"] < cut["restore.before"]
    # What is restored are the maps that these were taken from, not those of the network with holes in it.
    norm = "flow.stages.3.0.bn3.running_var"
    assert torch.equal(through.get_buffer(norm), original.get_buffer(norm))
    assert 0 <= cut["before_tuning.val_macro_f1"] <= 1
    # Frozen again: the head alone was fitted, and later stages read these layers' maps from the cache.
    assert through.frozen_layers() is not None
    assert not through.get_parameter("flow.stages.2.0.conv_dw.weight").requires_grad


def test_few_clips_are_always_the_same_ones(study: tuple[Paths, Params]) -> None:
    paths, params = study
    data = Study.open(params.extract, paths)
    model, _ = load_model(paths.model("original"), create_model)
    first, again, all_ = (
        torch.cat(list(data.unlabelled_batches(model, at_most, raw=True))) for at_most in (5, 5, None)
    )
    assert len(first) == 5 and torch.equal(first, again) and first.dtype == torch.uint8
    assert len(all_) == len(data.both)


def test_without_restoration_it_is_refused(study: tuple[Paths, Params]) -> None:
    paths, _ = study
    text = paths.params.read_text().replace("restore: 0.001", "frozen: true")
    paths.params.write_text(text)
    with pytest.raises(UserError, match="'frozen' needs 'restore'"):
        load_params(paths.params)
