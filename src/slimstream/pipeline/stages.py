"""The list of stages in the order of `dvc dag`, for the command line, tracking, folds and tables.

dvc.yaml lists the dependencies and outputs of each stage; tests/unit/pipeline/test_stages.py checks that the
two agree. `publish` is no stage of dvc.yaml: it changes the registry, which DVC does not track.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from types import ModuleType
from typing import Any, TypeVar

from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.pipeline.params import Params

T = TypeVar("T")

Trial = tuple[str, dict[str, Any], dict[str, float]]
"""One of the variants that a stage tried: its name, its parameters and its metrics."""


@dataclass(frozen=True)
class Stage:
    """The stage `slimstream.stages.<name>`: a module with a function `run`, or a folder with a stage.py."""

    name: str
    help: str
    """One line for `python -m slimstream --help`, and the `desc` of dvc.yaml."""
    models: tuple[str, ...] = ()
    """The models that it makes; those of `teachers` are named by the recipe."""
    trains: bool = False
    """Whether it trains by gradient steps: it may use several processes, and system metrics are recorded."""
    has_work: Callable[[Params], bool] = lambda params: True
    """Whether the settings give it anything to do; without, it has no run in MLflow."""
    in_folds: bool = True
    """Whether it is part of the folds, which begin with `split`."""

    @property
    def module(self) -> ModuleType:
        """The module with `run`. It is imported here, because it imports heavy libraries."""
        found = import_module(f"slimstream.stages.{self.name}")
        return found if hasattr(found, "run") else import_module(f"{found.__name__}.stage")

    @property
    def sections(self) -> list[str]:
        """The sections and single settings that `run` takes, such as "extract" and "ingest.source"."""
        return [
            _setting(name) for name in signature(self.module.run).parameters if name not in ("paths", "log")
        ]

    def run(self, params: Params, paths: Paths, log: Log) -> dict[str, float]:
        """Run the stage with its own sections of `params`; returns its metrics. Raises UserError."""
        metrics: dict[str, float] = call(self.module.run, params, paths=paths, log=log)
        return metrics

    def trials(self, paths: Paths) -> list[Trial]:
        """What the last run tried, if the module has a function `trials`. Tracking shows each as a run."""
        ask = getattr(self.module, "trials", None)
        return ask(paths) if ask else []


_LIST = (
    Stage("ingest", "fetch the clips that source.lock.json lists and write the manifest"),
    Stage("validate", "decode every clip, quarantine bad ones, find twins and shortcuts, write Data Docs"),
    Stage("extract", "pack RGB frames with their dense optical flow"),
    Stage("split", "divide the clips into train, val and test by groups"),
    Stage("baseline", "frozen ImageNet features with logistic regression: the baseline", ("baseline",)),
    Stage(
        "search",
        "try what a network may look at and how deep it may be, choose the cheapest that answers as well",
        has_work=lambda params: params.search.active,
    ),
    Stage(
        "train",
        "train the network of params.yaml, and the one that search chose",
        ("original", "slim"),
        trains=True,
    ),
    Stage(
        "teachers",
        "train the networks that only serve as teachers, if the recipe has any",
        trains=True,
        has_work=lambda params: bool(params.teachers),
    ),
    Stage("prune", "remove the least important channels, then fine-tune", ("pruned",), trains=True),
    Stage(
        "distill",
        "let a small network learn from the original and the teachers, beside its λ = 0 control",
        ("control", "distilled"),
        trains=True,
    ),
    Stage("refit", "let the heads of all models learn from the validation clips too, if the recipe says so"),
    Stage("export", "write all models in their deployed forms, check and time each, choose one"),
    Stage("evaluate", "evaluate all models on the test clips in their deployed form, write the report"),
)
STAGES = {stage.name: stage for stage in _LIST}


def following(name: str) -> list[Stage]:
    """The stage `name` and all after it."""
    return list(_LIST[list(STAGES).index(name) :])


def call(function: Callable[..., T], params: Params, **known: Any) -> T:
    """Call `function` with arguments chosen by its parameters' names: from `known`, or a section of `params`.

    The parameter `extract` gets the section of that name, `ingest__source` only the setting `ingest.source`.
    A parameter with a default keeps it unless it is in `known`.
    """
    given = {name: known[name] for name in signature(function).parameters if name in known}
    for name, parameter in signature(function).parameters.items():
        if name not in given and parameter.default is Parameter.empty:
            given[name] = params.section(_setting(name))
    return function(**given)


def _setting(parameter: str) -> str:
    return parameter.replace("__", ".")
