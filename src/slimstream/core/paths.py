"""All paths of the pipeline. They lie below `root`, the folder that holds params.yaml."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

MODELS = ("baseline", "original", "slim", "pruned", "control", "distilled")
"""Models in the order of the results table: frozen features, trained, chosen by the search, pruned, λ = 0
control, distilled."""
BEST = "best"
"""The best network of the search where it is not the chosen one: a teacher in `distill`, in no table."""
TEACHERS = "teachers/"
"""Prefix of teachers' names; their rows follow those of MODELS."""


def printable_path(path: PurePath) -> str:
    """Return `path` as valid UTF-8 text; other bytes of the name are escaped with backslashes."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def models_scored(scores: Iterable[str]) -> list[str]:
    """Return the models that have a score `<model>.macro_f1`, in the order of the table."""
    found = {key.split(".")[0] for key in scores if key.endswith(".macro_f1") and key.count(".") == 1}
    return _in_order(found)


def models_in_folder(folder: Path) -> list[str]:
    """Return the names of all models below `folder`, in the order of the table."""
    return _in_order({str(card.parent.relative_to(folder)) for card in folder.glob("**/model.json")})


def _in_order(names: set[str]) -> list[str]:
    return [m for m in MODELS if m in names] + sorted(m for m in names if m.startswith(TEACHERS))


@dataclass(frozen=True)
class Paths:
    root: Path = Path()

    # Edited or committed by the user.
    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def source_lock(self) -> Path:
        return self.root / "source.lock.json"

    @property
    def source_root(self) -> Path:
        """Base of relative sources; `SLIMSTREAM_SOURCE_ROOT` lets worktrees share it."""
        return Path(os.environ.get("SLIMSTREAM_SOURCE_ROOT") or self.root)

    # Untracked: survives DVC emptying its outs, may be deleted at any time.
    @property
    def cache(self) -> Path:
        """Fetched clips and unfinished work; `SLIMSTREAM_CACHE` lets worktrees share it."""
        return Path(os.environ.get("SLIMSTREAM_CACHE") or self.root / ".slimstream")

    @property
    def store(self) -> Path:
        """Content-addressed clips: store/<first two of sha256>/<sha256><suffix>."""
        return self.cache / "store"

    @property
    def made_params(self) -> Path:
        """A copy of the params.yaml that was last made here from a recipe; no worktree shares it."""
        return self.root / ".slimstream/params.yaml"

    def resume_folder(self, stage: str, key: str) -> Path:
        """Folder for resumable work of `stage`; `key` is a hash of everything that the work depends on."""
        return self.cache / "work" / stage / key

    # Outs of the stages.
    @property
    def ingested(self) -> Path:
        """ingest: unchanged clips, `ingested/<id><suffix>`."""
        return self.root / "data/ingested"

    @property
    def manifest(self) -> Path:
        """ingest: one row per listed clip."""
        return self.root / "data/manifest.parquet"

    @property
    def clips(self) -> Path:
        """validate: the accepted rows of the manifest, with a `twin` column."""
        return self.root / "data/clips.parquet"

    @property
    def validation(self) -> Path:
        """validate: `summary.json`, `quarantine.csv` and `data_docs/index.html` (expected and found)."""
        return self.root / "reports/validation"

    @property
    def packs(self) -> Path:
        """extract: `<id>.npy` or rows of `frames.npy`, (T, H, W, C) uint8; and `index.parquet`."""
        return self.root / "data/packs"

    @property
    def split(self) -> Path:
        """split: id, label, group, part for every accepted clip."""
        return self.root / "data/split.parquet"

    @property
    def split_info(self) -> Path:
        """split: hash, classes, counts by part, groups by part."""
        return self.root / "data/split.json"

    @property
    def search(self) -> Path:
        """search: the chosen candidate and why; plots/search.csv has a row for each candidate."""
        return self.root / "data/search.json"

    def model(self, name: str) -> Path:
        """A model's folder: `model.json` and `weights.safetensors`."""
        return self.root / "models" / name

    def uncompressed(self) -> str:
        """Name of the model that prune compresses: the one that the search chose, or the original."""
        return "slim" if (self.model("slim") / "model.json").exists() else "original"

    @property
    def teachers(self) -> Path:
        """teachers: one model folder per teacher; empty without teachers."""
        return self.model(TEACHERS)

    def trained_teachers(self) -> list[str]:
        """Names of the trained teachers."""
        return [name.removeprefix(TEACHERS) for name in self.trained_models() if name.startswith(TEACHERS)]

    def trained_models(self) -> list[str]:
        """Names of all trained models, in the order of the table."""
        return models_in_folder(self.root / "models")

    @property
    def final(self) -> Path:
        """refit: the final models, which are evaluated on the test clips and exported."""
        return self.root / "models/final"

    def final_models(self) -> list[str]:
        """Names of the models in `final`, in the order of the table."""
        return models_in_folder(self.final)

    def final_model(self, name: str) -> Path:
        return self.final / name

    @property
    def exports(self) -> Path:
        """export: one folder per model with its exported files and their measurements."""
        return self.root / "exports"

    def export(self, name: str) -> Path:
        return self.exports / name

    @property
    def predictions(self) -> Path:
        """evaluate: one row per model and test clip."""
        return self.root / "data/predictions.parquet"

    def metrics(self, stage: str) -> Path:
        """All numbers that `stage` returned."""
        return self.root / "metrics" / f"{stage}.json"

    @property
    def summary(self) -> Path:
        """evaluate: the numbers that runs are compared by, the only metrics that DVC shows."""
        return self.root / "metrics/summary.json"

    @property
    def confusion(self) -> Path:
        """evaluate: actual and predicted labels of the model to publish, for `dvc plots`."""
        return self.curves("confusion")

    @property
    def teacher_curves(self) -> Path:
        """teachers: training curves, one file per teacher."""
        return self.root / "plots" / TEACHERS

    def curves(self, name: str) -> Path:
        """Training curves, one row per epoch, for `dvc plots`."""
        return self.root / "plots" / f"{name}.csv"

    @property
    def report_page(self) -> Path:
        """evaluate: the report as DVC keeps it, without the gate's verdict; one self-contained HTML page."""
        return self.root / "data/report.html"

    @property
    def report(self) -> Path:
        """The report to read: `report_page`, to which publish adds the verdict. DVC does not know it."""
        return self.root / "reports/index.html"

    def run(self, stage: str) -> Path:
        """`{"run_id": …}`: the MLflow run that produced the current outputs of `stage`."""
        return self.root / "runs" / f"{stage}.json"
