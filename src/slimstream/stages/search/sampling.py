"""Samples of a space that has too many candidates to try."""

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from slimstream.stages.search.candidates import AnyCandidate

NUMBERS = ("frames", "size", "depth", "grid")
"""Fields whose values have an order."""
NAMES = ("streams", "backbone", "name")
ASKS = 5
"""Proposals a wanted candidate, after which the rest is drawn at random."""


One = TypeVar("One", bound=AnyCandidate)


def sample(
    candidates: Sequence[One], trials: int | None, judge: Callable[[One], tuple[float, float]]
) -> list[One]:
    """All `candidates`, or `trials` different ones in their order; `judge` returns score and cost of one.

    Optuna's tree-structured Parzen estimator proposes them: the first third at random, then combinations like
    those with the best scores for their cost (Bergstra et al., NIPS 2011; Ozaki et al., GECCO 2020). The same
    scores give the same sample.
    """
    if trials is None or trials >= len(candidates):
        return list(candidates)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes: dict[str, list[Any]] = {
        axis: sorted({getattr(one, axis, None) for one in candidates}, key=_order)
        for axis in (*NUMBERS, *NAMES)
    }
    kinds: dict[str, Any] = {
        axis: optuna.distributions.IntDistribution(0, len(values) - 1)
        if axis in NUMBERS
        else optuna.distributions.CategoricalDistribution(range(len(values)))
        for axis, values in axes.items()
    }
    there = {tuple(getattr(one, axis, None) for axis in axes): one for one in candidates}
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=max(1, trials // 3))
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    judged: dict[One, tuple[float, float]] = {}
    for _ in range(ASKS * trials):
        trial = study.ask(kinds)
        one = there.get(tuple(values[trial.params[axis]] for axis, values in axes.items()))
        if one is None:  # such as both streams of lite1
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        if one not in judged:
            judged[one] = judge(one)
        study.tell(trial, judged[one])
        if len(judged) == trials:
            break
    else:
        rest = [one for one in candidates if one not in judged]
        judged |= {one: judge(one) for one in random.Random(0).sample(rest, trials - len(judged))}
    return [one for one in candidates if one in judged]


def _order(value: Any) -> tuple[float, str]:
    """Of numbers by size, pictures by area; None, which means all frames, is the largest."""
    if isinstance(value, tuple):
        return float(value[0] * value[1]), str(value)
    return (float("inf") if value is None else float(value), "") if not isinstance(value, str) else (0, value)
