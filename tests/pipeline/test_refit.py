"""refit: heads learn from the validation clips too; what validation said before stays on the cards."""

from pathlib import Path

import pytest
import torch

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.models import create_model
from slimstream.models.checkpoint import load_card, load_model, weight_hash
from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.refit import stage as refit
from slimstream.training.study import Study
from tests.pipeline.tiny_study import FIT, study

Trained = tuple[Params, Paths, dict[str, float]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    torch.set_num_threads(1)
    train = {"model": "tiny_two_stream", "fit": FIT}
    paths = study(tmp_path_factory.mktemp("study"), train=train, refit={"strength": 0.1})
    params = load_params(paths.params)
    for stage in ("baseline", "train"):
        STAGES[stage].run(params, paths, null_log)
    return params, paths, STAGES["refit"].run(params, paths, null_log)


def test_heads_have_learnt_from_the_validation_clips(trained: Trained) -> None:
    params, paths, _ = trained
    opened = Study.open(params.extract, paths)
    for name in ("baseline", "original"):
        expected, _ = load_model(paths.model(name), create_model)
        opened.fit_head(expected, opened.both, 0.1)
        final, _ = load_model(paths.final_model(name), create_model)
        assert weight_hash(final) == weight_hash(expected)
        opened.fit_head(expected, opened.train, 0.1)
        assert weight_hash(final) != weight_hash(expected)


def test_what_validation_said_is_older_than_what_was_learnt_from_it(trained: Trained) -> None:
    params, paths, metrics = trained
    opened = Study.open(params.extract, paths)
    for name in ("baseline", "original"):
        before, _ = load_model(paths.model(name), create_model)
        after, card = load_model(paths.final_model(name), create_model)
        assert card.validation == opened.validate(before) != opened.validate(after)
        assert metrics[f"{name}.val_macro_f1"] == card.validation["val_macro_f1"]


def test_a_network_that_has_diverged_is_a_sentence(trained: Trained) -> None:
    params, paths, _ = trained
    broken, _ = load_model(paths.model("original"), create_model)
    with torch.no_grad():
        for weights in broken.parameters():
            weights.fill_(float("nan"))
    with pytest.raises(UserError, match="a training has diverged"):
        Study.open(params.extract, paths).validate(broken)


def test_without_a_strength_the_models_stay_as_they_are(trained: Trained) -> None:
    params, paths, _ = trained
    left_out = params.model_copy(update={"refit": params.refit.model_copy(update={"strength": None})})
    STAGES["refit"].run(left_out, paths, null_log)
    for name in ("baseline", "original"):
        final, card = load_model(paths.final_model(name), create_model)
        assert weight_hash(final) == weight_hash(load_model(paths.model(name), create_model)[0])
        assert set(card.validation) == {"val_loss", "val_accuracy", "val_macro_f1", "val_brier"}
    STAGES["refit"].run(params, paths, null_log)


def test_a_model_that_is_gone_does_not_stay(trained: Trained, tmp_path: Path) -> None:
    params, paths, _ = trained
    aside = paths.model("original").rename(tmp_path / "original")
    STAGES["refit"].run(params, paths, null_log)
    assert paths.final_models() == ["baseline"]
    aside.rename(paths.model("original"))
    STAGES["refit"].run(params, paths, null_log)
    assert paths.final_models() == ["baseline", "original"]


def test_a_network_without_a_linear_head_is_said_in_a_sentence(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, paths, _ = trained
    monkeypatch.setattr(
        refit, "load_model", lambda folder, create: (torch.nn.Linear(1, 1), load_card(folder))
    )
    monkeypatch.setattr(Study, "validate", lambda self, model: {})
    with pytest.raises(UserError, match=r"Linear has no linear head to fit; .*refit\.strength"):
        STAGES["refit"].run(params, paths, null_log)
    monkeypatch.undo()
    STAGES["refit"].run(params, paths, null_log)
