"""The loop that asks every stage what it would refuse, and how sections find their parameters."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from slimstream.clips.params import ExtractParams
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.pipeline import preflight as pipeline
from slimstream.pipeline.params import Params
from slimstream.pipeline.preflight import preflight
from slimstream.pipeline.stages import Stage, call
from slimstream.stages.validate.params import ValidateParams
from slimstream.training.params import TrainParams

PARAMS = Params(recipe="tiny")


class Made(Stage):
    """A stage whose module is made up."""

    def __init__(self, ask: Callable[..., Any] | None = None) -> None:
        super().__init__("made", "up")
        made = SimpleNamespace() if ask is None else SimpleNamespace(preflight=ask)
        object.__setattr__(self, "made", made)

    @property
    def module(self) -> ModuleType:
        return cast(ModuleType, self.made)  # type: ignore[attr-defined]


def of_settings(extract: ExtractParams) -> list[str]:
    return [f"{extract.frames} frames"]


def of_clips(keys: Sequence[str]) -> list[str]:
    return [f"{len(keys)} clips"]


def of_both(paths: Paths, classes: Sequence[str] | None = None) -> list[str]:
    return [f"classes {classes}"]


def test_settings_alone_are_asked_first_and_clips_when_they_are_known() -> None:
    stages = [Made(), Made(of_settings), Made(of_clips), Made(of_both)]
    assert preflight(PARAMS, Paths(), stages) == ["16 frames", "classes None"]
    assert preflight(PARAMS, Paths(), stages, keys=["a"]) == ["1 clips"]
    assert preflight(PARAMS, Paths(), stages, keys=["a"], classes=["on"]) == ["1 clips", "classes ['on']"]


def test_a_refusal_of_any_stage_stops_all() -> None:
    def refuse(recipe: str) -> None:
        raise UserError(f"{recipe} cannot be.")

    with pytest.raises(UserError, match="tiny cannot be"):
        preflight(PARAMS, Paths(), [Made(of_settings), Made(refuse)])


def test_a_function_gets_the_sections_that_its_parameters_name() -> None:
    def run(
        validate: ValidateParams, ingest__rig__clips: int, paths: Paths, count: int = 3
    ) -> tuple[Any, ...]:
        return validate, ingest__rig__clips, paths, count

    assert call(run, PARAMS, paths=Paths()) == (PARAMS.validate_, 4, Paths(), 3)
    assert call(run, PARAMS, paths=Paths(), count=1, unasked=True)[-1] == 1


def test_what_has_passed_is_asked_again_only_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(pipeline, "preflight", lambda params, paths, **facts: asked.append(facts))
    weights = tmp_path / "lite0.safetensors"
    params = PARAMS.model_copy(
        update={"train": TrainParams(model="two_stream_vit", model_args={"pretrained": str(weights)})}
    )
    paths = Paths(tmp_path)
    pipeline.check_settings(params, paths)
    pipeline.before_training(params, paths)
    assert asked == [{}]
    weights.touch()  # a file that the settings name
    pipeline.before_training(params, paths)
    assert asked == [{}, {}]
    paths.split_info.parent.mkdir()
    for split_hash in ("ab", "cd", "cd"):
        paths.split_info.write_text(json.dumps({"classes": ["on", "off"], "hash": split_hash}))
        pipeline.before_training(params, paths)
    assert [facts["split_hash"] for facts in asked[2:]] == ["ab", "cd"]
    pipeline.before_training(PARAMS, paths)  # other settings
    assert len(asked) == 6


def test_what_was_refused_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(params: Params, paths: Paths) -> None:
        raise UserError("no")

    monkeypatch.setattr(pipeline, "preflight", refuse)
    for _ in range(2):
        with pytest.raises(UserError, match="no"):
            pipeline.check_settings(PARAMS, Paths(tmp_path))
    assert list(tmp_path.iterdir()) == []
