"""What a later stage would refuse, asked of all stages before the first one works.

A stage says it by a function `preflight` beside its `run`. It names the sections of params.yaml that it
looks at (other stages' too) and, if it wants, facts about the clips: FACTS. It raises UserError, or returns
sentences for the user.
"""

import json
from collections.abc import Iterable
from inspect import Parameter, signature
from typing import Any

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES, Stage, call

FACTS = ("items", "keys", "classes", "split_hash")
"""What may be known of the clips: listed items and their keys, names of the classes, hash of the split."""


def preflight(
    params: Params, paths: Paths, stages: Iterable[Stage] = STAGES.values(), **facts: Any
) -> list[str]:
    """Ask `stages` and return what the user should hear, a sentence each. Raises UserError when one refuses.

    Without `facts` the settings alone are looked at. With some of FACTS those stages are asked that name one
    of them, and that need none which is not there (a parameter without a default is needed).
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
    """Ask all stages, of the split too where there is one. Raises UserError when one refuses."""
    preflight(params, paths)
    if paths.split_info.exists():
        info = json.loads(paths.split_info.read_text())
        preflight(params, paths, classes=info["classes"], split_hash=info["hash"])
