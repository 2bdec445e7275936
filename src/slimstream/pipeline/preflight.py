"""Checks of all stages before the first one runs, so that no later stage refuses the settings or the clips.

A stage may have a function `preflight` beside its `run`. Its parameters are the sections of params.yaml that
it checks (also those of other stages) and facts about the clips, as named in FACTS. It raises UserError, or
returns sentences for the user.
"""

import json
from collections.abc import Iterable
from inspect import Parameter, signature
from typing import Any

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES, Stage, call

FACTS = ("items", "keys", "classes", "split_hash")
"""Facts about the clips: listed items and their keys, names of the classes, hash of the split."""


def preflight(
    params: Params, paths: Paths, stages: Iterable[Stage] = STAGES.values(), **facts: Any
) -> list[str]:
    """Call the checks of `stages`; return sentences for the user. Raises UserError when a check fails.

    Without `facts` the checks that need settings only are called. With some of FACTS the checks are called
    that have one of them as a parameter, and for which no parameter without a default is missing.
    """
    told: list[str] = []
    for stage in stages:
        ask = getattr(stage.module, "preflight", None)
        named = {} if ask is None else {n: p for n, p in signature(ask).parameters.items() if n in FACTS}
        lacking = any(p.default is Parameter.empty and name not in facts for name, p in named.items())
        if ask is None or lacking or (facts and not named.keys() & facts.keys()):
            continue
        told += call(ask, params, paths=paths, **facts) or []
    return told


def before_training(params: Params, paths: Paths) -> None:
    """Check the settings and, where there is a split, its classes and hash. Raises UserError."""
    preflight(params, paths)
    if paths.split_info.exists():
        info = json.loads(paths.split_info.read_text())
        preflight(params, paths, classes=info["classes"], split_hash=info["hash"])
