"""Shared by training, pruning and distillation: clips of a split, validation, resumable fits, saving."""

import json
import math
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimstream.clips.params import ExtractParams, NetworkInput
from slimstream.core.environment import PROCESSES_VARIABLE
from slimstream.core.errors import UserError
from slimstream.core.fingerprint import fingerprint
from slimstream.core.paths import Paths
from slimstream.core.progress import Log, progress_bar
from slimstream.core.schema import Section
from slimstream.datasets.dataset import (
    Batch,
    Batches,
    ClipDataset,
    Shard,
    evaluation_batches,
    training_batches,
)
from slimstream.models import with_pretrained
from slimstream.models.checkpoint import Card, save_model
from slimstream.models.cost import count_macs, count_params
from slimstream.training import distributed
from slimstream.training.closed_form import fit_head, require_head
from slimstream.training.feature_cache import cache_frozen_features
from slimstream.training.loop import Row, fit
from slimstream.training.metrics.classification import accuracy, brier, confusion, macro_f1
from slimstream.training.objectives import Objective, build_objective, check_training
from slimstream.training.params import FitParams

EVALUATION_FRAMES = 32
"""Frames per evaluation batch, to limit memory; a batch has at least one clip."""


CURVES = ["epoch", "train_loss", "lr", "val_loss", "val_accuracy", "val_macro_f1", "val_brier"]
"""Columns of the curves file of a training without epochs."""


@dataclass(frozen=True)
class Study:
    """Train and val clips of a split, with the operations that training stages need."""

    paths: Paths
    classes: list[str]
    split_hash: str
    input: NetworkInput
    train: ClipDataset
    val: ClipDataset
    both: ClipDataset
    """Clips of train and val together."""
    finished: list[Path] = field(default_factory=list)
    """State folders of finished trainings. They are kept until `forget`, in case the stage is killed."""

    @classmethod
    def open(cls, input: ExtractParams, paths: Paths) -> "Study":
        """The clips of the split, shown as a network with `input` sees them; the section `extract`: whole."""
        input = NetworkInput.of(input)
        info = json.loads(paths.split_info.read_text())
        split = pd.read_parquet(paths.split)
        classes = info["classes"]

        def clips(*parts: str) -> ClipDataset:
            rows = split[split["part"].isin(parts)].sort_values("id")
            return ClipDataset(
                paths.packs,
                rows["id"].tolist(),
                [classes.index(label) for label in rows["label"]],
                input.reduce,
            )

        return cls(paths, classes, info["hash"], input, clips("train"), clips("val"), clips("train", "val"))

    def seen_with(self, input: NetworkInput) -> "Study":
        """The same clips as a network with `input` sees them; the packs are the same."""
        shown = {part: getattr(self, part).reduced(input.reduce) for part in ("train", "val", "both")}
        return replace(self, input=input, **shown)

    def build_objective(self, model: nn.Module, p: FitParams) -> Objective:
        return build_objective(model, p, self.train.labels, len(self.classes))

    def batches(self, p: FitParams, epoch: int, view: int) -> Iterable[Batch]:
        """Batches of this process: order from `epoch`, frames and augmentation from `view`."""
        return training_batches(
            self.train,
            batch_size=p.batch_size,
            frames=p.frames,
            augment=p.augment,
            seed=p.seed,
            epoch=epoch,
            view=view,
            shard=Shard(distributed.rank(), distributed.world_size(), p.micro_batch),
        )

    def training_batches(
        self, model: nn.Module, p: FitParams, epoch: int, views: int | None
    ) -> Iterable[Batch]:
        """Training batches of `epoch`. With `views`, the augmented view is epoch mod `views`."""
        batches = self.batches(p, epoch, epoch % views if views else epoch)
        # Frozen features are cached only for views that are used again.
        comes_again = views or not p.augment.active
        return cache_frozen_features(model, batches, self.paths.cache) if comes_again else batches

    def evaluation(self, model: nn.Module, clips: ClipDataset) -> Iterable[Batch]:
        """Batches of all `clips`, not augmented, with every frame."""
        return cache_frozen_features(model, clip_batches(clips), self.paths.cache)

    def validate(self, model: nn.Module) -> Row:
        """Evaluate on all frames of the val clips: loss, accuracy, macro-F1 and Brier score (0..2).

        The clips are divided among the processes, and every process gets the result of all.
        """
        batches = clip_batches(self.val)
        mine = Batches(batches.chunks[distributed.rank() :: distributed.world_size()], batches.load)
        logits, labels = torch.zeros(len(self.val), len(self.classes)), torch.tensor(self.val.labels)
        for indices, answers, _ in predict_batches(
            model, cache_frozen_features(model, mine, self.paths.cache)
        ):
            logits[indices] = answers
        distributed.all_reduce([logits])
        if not torch.isfinite(logits).all():
            raise UserError(
                "params.yaml: a training has diverged: the outputs of the network are no numbers any more; "
                "lower lr in its section fit."
            )
        matrix = confusion(labels.numpy(), logits.argmax(dim=1).numpy(), len(self.classes))
        return {
            "val_loss": F.cross_entropy(logits, labels).item(),
            "val_accuracy": float(accuracy(matrix)),
            "val_macro_f1": float(macro_f1(matrix)),
            "val_brier": brier(labels.numpy(), logits.softmax(dim=1).numpy()),
        }

    def check(self, model: nn.Module, p: FitParams, section: str = "train") -> None:
        """Raise UserError when `model` does not take these channels or `p` does not suit it."""
        check_training(model, p, self.input.channels, section)

    def check_shares(self, p: FitParams) -> None:
        """Raise UserError when there are more processes than micro-batches in a step of `p`."""
        pieces = math.ceil(min(p.batch_size, len(self.train)) / p.micro_batch)
        if pieces < distributed.world_size():
            raise UserError(
                f"params.yaml: a step has {pieces} micro-batches (batch_size {p.batch_size}, micro_batch "
                f"{p.micro_batch}, {len(self.train)} clips) for {distributed.world_size()} processes to "
                f"share: lower micro_batch or {PROCESSES_VARIABLE}."
            )

    def fit_head(self, model: nn.Module, clips: ClipDataset, strength: float) -> None:
        """Fit the head of `model` (in evaluation mode) in closed form to `clips`, not augmented."""
        head = require_head(model)
        batches = clip_batches(clips)
        seen = cache_frozen_features(model, batches, self.paths.cache)
        fit_head(head, progress_bar(seen, "features", len(batches)), len(self.classes), strength)

    def fit(
        self,
        name: str,
        model: nn.Module,
        objective: Objective,
        p: FitParams,
        log: Log,
        *,
        stage: str,
        inputs: Iterable[Path] = (),
        settings: Iterable[Section] = (),
        views: int | None = None,
    ) -> Row:
        """Train `model` as `name` of `stage`, write its curves, return its best validation metrics.

        A killed training resumes when nothing it depends on has changed: the hash of its settings, its input
        files, the code that dvc.yaml lists for `stage` and the lock file is the name of the folder it resumes
        from. With `views`, epoch e sees the augmented view e mod `views` of every clip.
        """
        start = time.perf_counter()
        if p.epochs:
            self.check_shares(p)
        if p.head is not None:
            self.fit_head(model.eval(), self.train, p.head)
        lock = self.paths.root / "requirements.lock"
        key = fingerprint(
            stage,
            (section.model_dump_json() for section in (p, self.input, *settings)),
            [self.paths.split_info, self.paths.packs / "index.parquet", *inputs, lock],
        )
        folder = self.paths.resume_folder(name, key)
        history = fit(
            model,
            objective=objective,
            batches=lambda epoch: self.training_batches(model, p, epoch, views),
            validate=self.validate,
            p=p,
            clips=len(self.train),
            folder=folder,
            log=log,
            title=name,
        )
        self.finished.append(folder)
        if distributed.rank() == 0:
            write_curves(self.paths.curves(name), history)
        return self.validate(model) | {"seconds": time.perf_counter() - start}

    def remove_finished(self) -> None:
        """Delete the states of finished trainings. Call it when all results are written."""
        for folder in self.finished if distributed.rank() == 0 else ():
            shutil.rmtree(folder, ignore_errors=True)

    def save(
        self,
        name: str,
        model: nn.Module,
        *,
        base: str,
        args: dict[str, Any],
        pruning: Any = None,
        parent: str | None = None,
    ) -> Row:
        """Write `models/<name>`; return its parameters and multiply-accumulates for one clip."""
        size = {"params": count_params(model), "macs": count_macs(model, tuple(self.example().shape))}
        card = Card(
            model=base,
            args=with_pretrained(base, args),
            classes=self.classes,
            input=self.input.model_dump(mode="json"),
            pruning=pruning,
            split_hash=self.split_hash,
            parent=parent,
            **size,
        )
        if distributed.rank() == 0:
            save_model(self.paths.model(name), model, card)
        return {key: float(value) for key, value in size.items()}

    def unlabelled_batches(
        self, model: nn.Module, at_most: int | None = None, *, raw: bool = False
    ) -> Iterator[Tensor]:
        """Batches of train and val clips (B, T, C, H, W), not augmented, for methods that need no labels.

        Using val clips makes validation slightly optimistic. It only compares compressed networks, which all
        use them, and with few cameras the additional clips help. Of more than `at_most` clips a fixed random
        subset is used. `raw`: do not replace the clips by their frozen features.
        """
        drawn = None
        if at_most and at_most < len(self.both):
            drawn = np.random.default_rng(0).choice(len(self.both), at_most, replace=False)
        batches = clip_batches(self.both, drawn)
        seen = batches if raw else cache_frozen_features(model, batches, self.paths.cache)
        return (batch.clip for batch in seen)

    def example(self) -> Tensor:
        """Return one training clip, (1, T, C, H, W) uint8."""
        return next(iter(evaluation_batches(self.train, batch_size=1))).clip


def write_curves(file: Path, history: Sequence[Row]) -> None:
    """Write one row per epoch; the names of the columns alone for a training without epochs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(history, columns=None if history else CURVES).to_csv(file, index=False)


def clip_batches(clips: ClipDataset, drawn: npt.NDArray[np.int64] | None = None) -> Batches:
    """Batches of all clips, or of the indices `drawn`, not augmented, with every frame."""
    longest = max(clips.lengths, default=1)
    return evaluation_batches(clips, max(1, EVALUATION_FRAMES // longest), drawn)


def predict(model: nn.Module, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Logits (N, n) and labels (N,) of all clips in the order of their indices."""
    outputs = predict_batches(model, batches)
    order = torch.cat([indices for indices, _, _ in outputs]).argsort()
    return torch.cat([x for _, x, _ in outputs])[order], torch.cat([y for _, _, y in outputs])[order]


@torch.inference_mode()
def predict_batches(model: nn.Module, batches: Iterable[Batch]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return indices (B,), logits (B, n) and labels (B,) of each batch."""
    device = next(model.parameters()).device
    model.eval()
    return [(batch.indices, model(batch.clip.to(device)).float().cpu(), batch.labels) for batch in batches]


def with_prefix(prefix: str, row: Mapping[str, float]) -> Row:
    return {f"{prefix}.{key}": value for key, value in row.items()}


def prefixed_log(log: Log, prefix: str) -> Log:
    """Return a log that adds `prefix` to the names of metrics."""
    return lambda metrics, step: log(with_prefix(prefix, metrics), step)
