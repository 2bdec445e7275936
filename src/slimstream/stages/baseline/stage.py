"""baseline: frozen ImageNet features (P2, row "CNN features") with a head that is fitted in closed form.

On a few hundred clips most of a two-stream model's quality comes from pretraining. This model takes a minute
and learns its last layer only. Every table includes it, so that one sees whether training a network pays. And
it answers for `predict` while later stages make a smaller one.
"""

import sys
import time

from pydantic import ValidationError

from slimstream.clips.params import ExtractParams, NetworkInput
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.models import build_on_meta, check_channels, create_model
from slimstream.stages.baseline.params import BaselineParams
from slimstream.training.study import Study

FROZEN, WITHOUT_FLOW = "frozen_efficientnet_lite0", "frozen_frames_lite0"


def run(baseline: BaselineParams, extract: ExtractParams, paths: Paths, log: Log) -> dict[str, float]:
    """Fit the baseline's head and save the model; returns its validation scores, size and "seconds"."""
    start = time.perf_counter()
    name = network(baseline, extract)
    study = Study.open(extract, paths).seen_with(seen(baseline, extract))
    model = create_model(name, len(study.classes), **baseline.model_args).eval()
    study.fit_head(model, study.train, baseline.strength)
    scores = study.validate(model) | {"seconds": time.perf_counter() - start}
    size = study.save("baseline", model, base=name, args=baseline.model_args)
    print(
        f"baseline: a first model answers: `python -m slimstream predict CLIPS --model models/baseline` "
        f"(macro-F1 {scores['val_macro_f1']:.2f} on {len(study.val)} val clips; the smaller one follows).",
        file=sys.stderr,
    )
    return scores | size


def network(baseline: BaselineParams, extract: ExtractParams) -> str:
    """Name of the network for clips that `extract` makes.

    Raises UserError when the network needs optical flow and sees none, or is to see flow alone.
    """
    streams = baseline.reduce.streams if baseline.reduce is not None else "both"
    if streams == "flow":
        raise UserError("params.yaml: baseline.reduce.streams flow: the baseline looks at rgb or both.")
    if seen(baseline, extract).sees_flow:
        return baseline.model
    if baseline.model != FROZEN:
        raise UserError(
            f"params.yaml: baseline.model {baseline.model} looks at flow, and "
            f"{'extract.flow is none' if extract.flow == 'none' else 'baseline.reduce leaves none'}; "
            "leave baseline.model out."
        )
    return WITHOUT_FLOW


def seen(baseline: BaselineParams, extract: ExtractParams) -> NetworkInput:
    """What the baseline looks at. Raises UserError when packs cannot serve `baseline.reduce`."""
    try:
        return NetworkInput.of(extract, baseline.reduce)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"params.yaml: baseline.{reason}.") from error


def preflight(baseline: BaselineParams, extract: ExtractParams) -> None:
    """Raise UserError when the network needs flow or channels that the clips do not have."""
    model = build_on_meta(network(baseline, extract), baseline.model_args)
    check_channels(model, seen(baseline, extract).channels, "baseline")
