"""The command `predict`: predict files with an exported model, one process per core."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimstream.catalog.hidden_files import hidden_part
from slimstream.core.errors import UserError
from slimstream.core.media import PICTURES, VIDEOS, is_picture
from slimstream.core.parallel import WorkerDied, cores, parallel_map
from slimstream.core.paths import Paths
from slimstream.core.progress import progress_bar
from slimstream.runtimes import find_runtime
from slimstream.serving.classifier import Answer, ClipClassifier, error_answer
from slimstream.serving.sealed import Sealed
from slimstream.serving.trained import deploy, is_trained

if TYPE_CHECKING:
    from slimstream.registry.versions import Registry

TABLE_HEADS = ("path,label,", '[\n  {\n    "path":')
"""First characters of the output, as CSV and as JSON."""


@dataclass(frozen=True)
class _Batch:
    files: tuple[Path, ...]
    model: Path
    runtime: str | None


def predict(
    files: Sequence[Path],
    model: Path,
    runtime: str | None = None,
    *,
    batch: int = 32,
    workers: int | None = None,
) -> list[Answer]:
    """Predict videos or pictures. Returns one answer per file, in order.

    Args:
        files: see `find_clips`.
        model: a folder with an exported network, see `deployed_model`.
        runtime: the runtime; None for the one that export chose.
        batch: number of pictures per batch.
        workers: number of processes; None for one per core.

    All answers have the same names, those of `classifier.Answer`. A file that fails has the reason in `error`
    and None for the rest; other files are not affected. Raises UserError when the model cannot be run.
    """
    classifier = ClipClassifier(model, runtime)  # or every process would say what is wrong with it
    if missing := find_runtime(classifier.runtime).missing():
        print(
            f"predict: {missing}, so {model} may answer a little otherwise than where it was evaluated, and "
            "more slowly.",
            file=sys.stderr,
        )
    batches = [_Batch(chunk, model, runtime) for chunk in _chunks(files, batch)]
    workers = min(workers or cores(), len(batches))
    if len(files) > 1:  # in other processes: a file may crash the decoder
        answers = _predict_in_pool(batches, workers)
    else:
        answers = (pair for b in batches for pair in _paired(b, classifier.predict(b.files)))
    rows = dict(progress_bar(answers, "predict", len(files)))
    names = classifier.columns()
    return [{name: rows[file].get(name) for name in names} for file in files]


def as_csv(answers: Sequence[Answer]) -> str:
    """Answers with the same names as CSV, with a header."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(answers[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(answers)
    return text.getvalue()


def as_json(answers: Sequence[Answer]) -> str:
    """Answers as JSON: a list with an object per file."""
    return json.dumps(answers, indent=2) + "\n"


def find_clips(given: Sequence[Path]) -> list[Path]:
    """Return the files of `given` and all videos and pictures in its folders, without duplicates.

    Hidden and system files in folders are ignored; a path that is given directly is always included, even if
    no file is there: its answer says so. Raises UserError when nothing is found.
    """
    found: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            found |= dict.fromkeys(sorted(clips_below(path)))
        else:
            found[path] = None
    if not found:
        raise UserError(f"{', '.join(map(str, given))}: no video or picture in it.")
    return list(found)


def clips_below(folder: Path) -> Iterator[Path]:
    """All videos and pictures below `folder`, without hidden and system files, in no order."""
    for root, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [
            name for name in folders if not hidden_part(Path(name))
        ]  # system folders may not be readable
        files = (Path(root, name) for name in names if not hidden_part(Path(name)))
        yield from (file for file in files if file.suffix.lower() in VIDEOS | PICTURES)


def _raise(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}; all of a folder must be readable.")


def deployed_model(name: str, paths: Paths, public_key: Path | None = None) -> Path:
    """Return the folder of an exported network.

    `name` is such a folder (`exports/<model>`), a folder with a trained network (`models/<model>`), a
    registered model (its champion), `<model>/<version>` or a bundle, whose signature is checked if there is a
    `public_key`. What is trained only is exported, files from the registry are downloaded, and a bundle is
    unpacked, to the cache and once. Raises UserError for an unknown model.
    """
    if (Path(name) / "preprocessing.json").is_file():
        return Path(name)
    if is_trained(Path(name)):
        return deploy(Path(name), paths.cache / "served")
    if Path(name).is_file():
        return Sealed(Path(name), public_key).model(paths.cache / "served")
    registry, version = find_version(name, paths)
    return registry.fetch(version, paths.cache / "served")


def find_version(name: str, paths: Paths) -> tuple["Registry", int]:
    """The registry and the version that `name` means: `<model>/<version>`, or the champion of `<model>`.

    Raises UserError when there is none.
    """
    from slimstream.registry.versions import Registry

    registered, _, number = name.partition("/")
    registry = Registry(registered, paths)
    if number and not number.isdecimal():
        raise UserError(f"{name} is neither a folder of exports/ nor <registered model>/<version>.")
    version = int(number) if number else registry.champion()
    if version is None or version not in registry.tags():
        what = f"version {number}" if number else "champion"
        raise UserError(
            f"{registered} has no {what}; `python -m slimstream versions` lists what there is, and --model "
            "takes a folder of exports/ or models/, too."
        )
    return registry, version


def _chunks(files: Sequence[Path], size: int) -> Iterator[tuple[Path, ...]]:
    """Yield single videos and batches of `size` pictures."""
    pictures = [file for file in files if is_picture(file)]
    yield from ((file,) for file in files if not is_picture(file))
    yield from (tuple(pictures[i : i + size]) for i in range(0, len(pictures), size))


def _paired(batch: _Batch, answers: list[Answer]) -> Iterator[tuple[Path, Answer]]:
    return zip(batch.files, answers, strict=True)


def _predict_in_pool(batches: list[_Batch], workers: int) -> Iterator[tuple[Path, Answer]]:
    """Yield files as they finish. After a crash, the files of that batch are tried again one by one."""
    again: list[_Batch] = []
    for position, result in parallel_map(_predict_batch, batches, workers):
        done = batches[position]
        if isinstance(result, WorkerDied) and len(done.files) > 1:
            again += [_Batch((file,), done.model, done.runtime) for file in done.files]
        elif isinstance(result, WorkerDied):
            yield done.files[0], error_answer(done.files[0], result)
        elif isinstance(result, Exception):
            raise result
        else:
            yield from _paired(done, result)
    if again:
        yield from _predict_in_pool(again, workers)


def _predict_batch(batch: _Batch) -> list[Answer]:
    """Run in a process of the pool. The network is opened once per process."""
    return _classifier(batch.model, batch.runtime).predict(batch.files)


_classifier: Any = lru_cache(1)(ClipClassifier)
