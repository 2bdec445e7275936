"""Teachers of another architecture, and a student that starts anew (P3), on a tiny study."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.models import create_model
from slimstream.models.checkpoint import load_card, load_model, weight_hash
from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.distill import stage as distill
from tests.pipeline.tiny_study import FIT, study

QUICK = {**FIT, "epochs": 1}
STUDENT = {"head": "cosine", "freeze": 6}
SECTIONS: dict[str, Any] = {
    "train": {"model": "two_stream_efficientnet_lite0", "model_args": STUDENT, "fit": QUICK},
    "teachers": {"lite": {"model": "frozen_efficientnet_lite0", "fit": {"head": 1.0, "epochs": 0}}},
    "distill": {
        "student": "scratch",
        "original": False,
        "attention": 0.5,
        "views": 1,
        "fit": {**FIT, "epochs": 2, "loss": "am_softmax", "center": 0.1, "slimming": 1e-4},
    },
}


@dataclass(frozen=True)
class Taught:
    paths: Paths
    metrics: dict[str, dict[str, float]]
    done_before_the_kill: list[str]
    logged_after_it: set[str]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """All stages; `distill` is killed in its second training and run again."""
    torch.set_num_threads(1)
    paths = study(tmp_path_factory.mktemp("study"), **SECTIONS)
    params = load_params(paths.params)
    metrics = {
        "train": STAGES["train"].run(params, paths, null_log),
        "teachers": STAGES["teachers"].run(params, paths, null_log),
    }

    def kill(values: Mapping[str, float], step: int) -> None:
        if "distilled.train_loss" in values:
            raise KeyboardInterrupt

    logged: set[str] = set()
    with pytest.raises(KeyboardInterrupt):
        STAGES["distill"].run(params, paths, kill)
    done = [file.parent.name for file in paths.root.glob("models/*/model.json")]
    metrics["distill"] = STAGES["distill"].run(params, paths, lambda values, step: logged.update(values))
    return Taught(paths, metrics, sorted(set(done) - {"original"}), logged)


def changed(paths: Paths, **distilling: Any) -> Params:
    params = load_params(paths.params)
    return params.model_copy(update={"distill": params.distill.model_copy(update=distilling)})


def test_a_teacher_has_a_folder_of_its_own(taught: Taught) -> None:
    paths, metrics = taught.paths, taught.metrics
    assert paths.trained_teachers() == ["lite"]
    assert load_card(paths.teachers / "lite").model == "frozen_efficientnet_lite0"
    assert metrics["teachers"]["lite.val_macro_f1"] == 1.0
    assert (paths.teacher_curves / "lite.csv").exists()


def test_the_student_starts_anew(taught: Taught) -> None:
    paths, metrics = taught.paths, taught.metrics
    assert metrics["distill"]["teachers"] == 1.0
    card = load_card(paths.model("distilled"))
    assert (card.args, card.parent, card.pruning) == ({"pretrained": True, **STUDENT}, None, None)
    starts = [distill.new_student(load_params(paths.params).distill, paths)[0] for _ in range(2)]
    original = load_model(paths.model("original"), create_model)[0]
    assert weight_hash(starts[0]) == weight_hash(starts[1]) != weight_hash(original)


def test_every_term_of_the_loss_is_logged(taught: Taught) -> None:
    terms = {name: set(pd.read_csv(taught.paths.curves(name))) for name in ("control", "distilled")}
    shared = {"train_loss", "train_hard", "train_soft", "train_center", "train_scales", "lr", "val_loss"}
    assert shared <= terms["control"] and terms["distilled"] - terms["control"] == {"train_attention"}


def test_a_kill_in_the_second_training_leaves_the_first_done(taught: Taught) -> None:
    assert taught.done_before_the_kill == ["control"]
    assert {key.split(".")[0] for key in taught.logged_after_it} == {"distilled"}
    assert not list(taught.paths.cache.glob("work/*/*/state.safetensors"))


def test_a_teacher_that_the_recipe_drops_teaches_no_more(tmp_path: Path) -> None:
    paths = study(tmp_path)
    (paths.teachers / "old").mkdir(parents=True)
    (paths.teachers / "old/model.json").touch()
    assert STAGES["teachers"].run(load_params(paths.params), paths, null_log) == {}
    assert paths.teachers.is_dir() and paths.teacher_curves.is_dir() and not paths.trained_teachers()


@pytest.mark.parametrize(
    ("distilling", "said"),
    [
        ({"trained": ["vgg16"]}, r"distill\.trained names vgg16.*\(lite\)"),
        ({"trained": []}, "no teacher"),
    ],
)
def test_missing_teachers_are_named(taught: Taught, distilling: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        STAGES["distill"].run(changed(taught.paths, **distilling), taught.paths, null_log)


class Detour(nn.Module):
    """Has maps and answers without them; or with."""

    def __init__(self, asks: bool) -> None:
        super().__init__()
        self.asks = asks

    def maps(self, clip: Tensor) -> tuple[Tensor, ...]:
        return (clip.float().flatten(0, 1),)

    def forward(self, clip: Tensor) -> Tensor:
        pictures = self.maps(clip)[0] if self.asks else clip.float().flatten(0, 1)
        return pictures.mean((2, 3))


@pytest.mark.parametrize(
    ("student", "teacher", "said"),
    [
        (Detour(True), Detour(False), r"models/big shows none; set attention: 0"),
        (Detour(False), Detour(True), r"the student shows none"),
        (nn.Flatten(), Detour(True), r"the student shows none"),
    ],
)
def test_attention_needs_maps_that_a_network_asks_for(
    student: nn.Module, teacher: nn.Module, said: str
) -> None:
    clip = torch.zeros(1, 2, 3, 4, 4, dtype=torch.uint8)
    distill.check_maps(Detour(True), {Path("models/big"): (Detour(True), clip)}, clip)
    with pytest.raises(UserError, match=said):
        distill.check_maps(student, {Path("models/big"): (teacher, clip)}, clip)


def test_a_loss_that_the_network_cannot_have_is_refused_before_any_work(tmp_path: Path) -> None:
    fits: dict[str, dict[str, Any]] = {
        "set `head: cosine`": {"loss": "am_softmax"},
        "no batch norm": {"slimming": 1e-4},
    }
    for said, fit in fits.items():
        teacher = {"model": "frozen_efficientnet_lite0", "fit": {**FIT, **fit}}
        folder = tmp_path / said
        paths = study(folder, teachers={"good": SECTIONS["teachers"]["lite"], "bad": teacher})
        with pytest.raises(UserError, match=said):
            STAGES["teachers"].run(load_params(paths.params), paths, null_log)
        assert not paths.trained_teachers()
