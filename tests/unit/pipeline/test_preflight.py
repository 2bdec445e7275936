"""The loop that asks every stage what it would refuse, and how sections find their parameters."""

from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from slimstream.clips.params import ExtractParams
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.pipeline.preflight import preflight
from slimstream.pipeline.stages import Stage, call
from slimstream.stages.validate.params import ValidateParams

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
