"""`prune.rate: auto`: the smallest network that surely loses little on clips that it has not learnt from."""

import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.core.fingerprint import fingerprint
from slimstream.core.paths import Paths
from slimstream.core.progress import Log, progress_bar
from slimstream.models import create_model
from slimstream.models.checkpoint import load_model, save_model
from slimstream.models.cost import measure
from slimstream.models.latency import Latency, latencies
from slimstream.runtimes import open_network
from slimstream.runtimes.base import warm_up
from slimstream.runtimes.export import export
from slimstream.stages.prune.compress import at_rate, compress, tune
from slimstream.stages.prune.params import PruneParams
from slimstream.training import distributed
from slimstream.training.cheapest import choose_on_folds
from slimstream.training.inner_folds import MIN_GROUPS, inner_folds, predict_left_out, val_fold
from slimstream.training.metrics.classification import Ints
from slimstream.training.metrics.intervals import draw_resamples
from slimstream.training.study import Row, Study, clip_batches, predict, prefixed_log, with_prefix

RESAMPLES = 2000
TIMED_RUNS = 20
COLUMNS = [
    *("rate", "removed", "params", "macs", "latency_p50_ms"),
    *("macro_f1", "loss", "low", "high", "chosen"),
]
"""Columns of plots/rates.csv: a row for each rate that was tried, 0 is the network before pruning."""


@dataclass(frozen=True)
class Found:
    """The network at the rate that was chosen."""

    rate: float
    model: nn.Module
    history: Any
    """As in `PruneReport`."""
    metrics: Row
    """Of pruning and, where it was part of the comparison, of fine-tuning."""
    rows: list[dict[str, Any]]
    """One of COLUMNS for each rate."""


def find_rate(study: Study, p: PruneParams, parent: str, margin: float, log: Log, *, by_heads: bool) -> Found:
    """Find the rate of `p.rates`, or 0, with the fewest multiply-accumulates that surely loses little.

    That is: the upper 95 % bound of its paired loss of macro-F1 against the best is at most `margin`.

    Each network is pruned and restored once, without labels. Then, with `by_heads`, heads are fitted in
    closed form on inner folds of the train and val clips, so that each clip is judged by a head that has not
    learnt its group; no other layer may have learnt from labels. Else each network is fine-tuned as `p.fit`
    says and judged on the val clips. The network before pruning, rate 0, is not trained any further.

    A killed run goes on where it was. Raises UserError when there are too few clips for inner folds.
    """
    of = study.paths.model(parent)
    inputs = [of / "model.json", of / "weights.safetensors", study.paths.split, study.paths.split_info]
    inputs += [study.paths.packs / "index.parquet", study.paths.root / "requirements.lock"]
    settings = [p.model_dump_json(), study.input.model_dump_json(), str(by_heads)]
    key = fingerprint("prune", settings, inputs)
    work = study.paths.resume_folder("rates", key)
    rates = [0.0, *sorted(set(p.rates))]
    folders = [work / f"{rate:g}" for rate in rates]
    for rate, folder in progress_bar(list(zip(rates, folders, strict=True)), "rates tried"):
        if not (folder / "facts.json").exists():
            _try(rate, study, p, parent, folder, prefixed_log(log, f"{rate:g}"), by_heads)
    distributed.all_reduce([torch.zeros(1)])  # until the first process has written all files
    study.finished.append(work)

    answers = [np.load(folder / "answers.npy", allow_pickle=False) for folder in folders]
    facts = [json.loads((folder / "facts.json").read_text()) for folder in folders]
    rows = _table(rates, answers, facts, study, p, margin, by_heads)
    speed = _speed(folders, study.example().numpy()) if distributed.rank() == 0 else []
    for row, measured in zip(rows, speed, strict=False):
        row["latency_p50_ms"] = measured.p50
    chosen = next(i for i, row in enumerate(rows) if row["chosen"])
    if not by_heads and distributed.rank() == 0:
        shutil.copy(folders[chosen] / "curves.csv", study.paths.curves("pruned"))
    model, card = load_model(folders[chosen], create_model)
    return Found(rates[chosen], model, card.pruning, facts[chosen]["metrics"], rows)


def _try(
    rate: float, study: Study, p: PruneParams, parent: str, folder: Path, log: Log, by_heads: bool
) -> None:
    """Make the network at `rate`; write it, its exported form, what it answers and what it costs."""
    model, card = load_model(study.paths.model(parent), create_model)
    p = at_rate(p, rate)
    # Not the best epoch on val, because these clips judge the rates. Rate 0 is judged as `train` left it:
    # with train.fit.select: best, these clips chose its epoch, so it looks somewhat better than it is.
    p = p.model_copy(update={"fit": p.fit.model_copy(update={"select": "last"})})
    report, restored = compress(model, study, p, parent)
    metrics = with_prefix("restore", restored)
    if not by_heads:
        metrics |= tune(model, study, p, parent, log)
    if distributed.rank():
        return
    if by_heads:
        answers: npt.NDArray[Any] = _features(model, study, raw=p.frozen)
    else:
        answers = predict(model, study.evaluation(model, study.val))[0].argmax(1).numpy()
    params, macs = measure(model, tuple(study.example().shape))
    sizes = {"params": params, "macs": macs}
    save_model(folder, model, card.model_copy(update={"pruning": report.history, **sizes}))
    export(model, [study.example().numpy()], folder, ["openvino"])
    if not by_heads:
        shutil.copy(study.paths.curves("pruned"), folder / "curves.csv")
    np.save(folder / "answers.npy", answers)
    with atomic_write(folder / "facts.json") as half:
        half.write_text(json.dumps({"removed": report.effective_rate, **sizes, "metrics": metrics}))


def _table(
    rates: Sequence[float],
    answers: Sequence[npt.NDArray[Any]],
    facts: Sequence[dict[str, Any]],
    study: Study,
    p: PruneParams,
    margin: float,
    by_heads: bool,
) -> list[dict[str, Any]]:
    """A row for each rate, without its latency; one is chosen. `answers` are features or predictions."""
    clips, parts = (study.both, ("train", "val")) if by_heads else (study.val, ("val",))
    split = pd.read_parquet(study.paths.split)
    own = split[split["part"].isin(parts)].sort_values("id").iloc[clips.given]
    group, twin = own["group"].tolist(), own["twin"].tolist()
    truth, classes = np.array(clips.labels), len(study.classes)
    if by_heads:
        assert p.fit.head is not None
        folds = inner_folds(group, twin, truth)
        predicted: list[Ints] = [predict_left_out(x, truth, folds, classes, p.fit.head) for x in answers]
    else:
        folds, predicted = val_fold(group), list(answers)
    draws = draw_resamples(group, twin, RESAMPLES, min_groups=MIN_GROUPS)
    cost = np.array([float(one["macs"]) for one in facts])
    scores, choice, _ = choose_on_folds(predicted, truth, folds, draws, classes, cost, margin)
    print(
        f"prune: rate {rates[choice.chosen]:g} of {', '.join(f'{rate:g}' for rate in rates)} "
        f"({folds.label}): {choice.why}",
        file=sys.stderr,
    )
    return [
        {
            "rate": rate,
            **{key: facts[i][key] for key in ("removed", "params", "macs")},
            "macro_f1": float(scores[i]),
            "loss": float(scores[choice.best] - scores[i]),
            "low": float(choice.low[i]),
            "high": float(choice.high[i]),
            "chosen": i == choice.chosen,
        }
        for i, rate in enumerate(rates)
    ]


@torch.inference_mode()
def _features(model: nn.Module, study: Study, *, raw: bool) -> npt.NDArray[np.float32]:
    """Features (N, F) of all train and val clips. `raw`: frozen layers are pruned, so nothing is cached."""
    model.eval()
    net: Any = model
    batches = clip_batches(study.both) if raw else study.evaluation(model, study.both)
    found: dict[int, npt.NDArray[np.float32]] = {}
    for batch in batches:
        found |= zip(batch.indices.tolist(), net.features(batch.clip).numpy(), strict=True)
    return np.stack([found[i] for i in range(len(study.both))])


def _speed(folders: Sequence[Path], clip: npt.NDArray[np.uint8]) -> list[Latency]:
    """Latencies on one thread of the networks in `folders`, which take turns in one runtime.

    That is OpenVINO, or ONNX if OpenVINO fails. `clip` is (1, T, C, H, W) uint8. Raises RuntimeError when
    neither runs them all.
    """
    for runtime in ("openvino", "onnx"):
        with suppress(RuntimeError, UserError):
            networks = [open_network(folder, runtime) for folder in folders]
            warm_up(networks, clip)
            calls = {str(i): partial(network, clip) for i, network in enumerate(networks)}
            return list(latencies(calls, TIMED_RUNS).values())
    raise RuntimeError("neither OpenVINO nor ONNX Runtime runs the exported networks")


def write_rates(paths: Paths, rows: list[dict[str, Any]]) -> None:
    """Write plots/rates.csv; the names of its columns alone where no rates were tried."""
    if distributed.rank() == 0:
        paths.curves("rates").parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=COLUMNS).to_csv(paths.curves("rates"), index=False)
