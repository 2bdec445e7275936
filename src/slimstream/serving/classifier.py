"""Predict raw clip files with an exported network. Does not need torch."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimstream.catalog.names import UNKNOWN
from slimstream.clips.packs import Pack, pack_clip
from slimstream.clips.params import NetworkInput
from slimstream.clips.pictures import check_visible
from slimstream.core.errors import UserError
from slimstream.core.paths import printable_path
from slimstream.core.schema import parse
from slimstream.runtimes import open_calibrated
from slimstream.runtimes.base import read_forms
from slimstream.runtimes.calibration import Floats
from slimstream.runtimes.seen import Seen, read_seen
from slimstream.serving.occlusion import Heat, occlusion_map

FRAMES = 32
"""Frames per batch, to limit memory; a batch has at least one clip."""
Probabilities = npt.NDArray[np.float64]
Answer = dict[str, Any]
"""`path`, `label`, `p_<class>` for every class (0..1), `unlikeness` (above 1 `label` is UNKNOWN) if
the network has a reference to compare with, `error` ("" or the reason of a failure)."""


class ClipClassifier:
    """An exported network and its preprocessing settings.

    Args:
        folder: a folder written by the export stage.
        runtime: the runtime; None for the one that export chose.
        threads: see `runtimes.open_network`.

    Raises UserError when the folder holds no deployed network.
    """

    def __init__(self, folder: Path, runtime: str | None = None, *, threads: int = 1) -> None:
        file = folder / "preprocessing.json"
        try:
            card = json.loads(file.read_text())
            self.classes: list[str] = card["classes"]
            self.extract = parse(card["extract"], NetworkInput, str(file))
            self.seconds: float | None = card.get("seconds")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{folder} holds no deployed network: {file.name} is missing or not ours."
            ) from error
        self.folder = folder
        self.runtime = runtime or read_forms(folder)[0].runtime
        self._network, self._calibration = open_calibrated(folder, self.runtime, threads=threads)
        self.seen: Seen | None = read_seen(folder)
        """A sample of what it was made from; None for a network that was exported without one."""

    def predict(self, files: Sequence[Path]) -> list[Answer]:
        """Predict videos or pictures. Returns one answer per file, in order; clips are predicted in batches.

        A video with several clips gets the means of their probabilities and of their unlikeness. A file that
        fails has label None and the reason in `error`; the other files are not affected.
        """
        found: dict[int, list[tuple[Probabilities, float]]] = {}
        errors: dict[int, Exception] = {}
        alike: dict[tuple[int, ...], list[tuple[int, Pack]]] = {}
        for number, file in enumerate(files):
            try:
                if not file.exists():
                    raise FileNotFoundError("the file is missing")
                packed = pack_clip(file, self.extract)
                check_visible(packed.peak, self.extract.bits)
                for clip in packed.clips:
                    alike.setdefault(clip.shape, []).append((number, clip))
            except Exception as error:
                errors[number] = error
        for clips in (batch for same in alike.values() for batch in _batches(same)):
            try:
                answers = zip(*self._run_network(np.stack([clip for _, clip in clips])), strict=True)
                for (number, _), (p, unlikeness) in zip(clips, answers, strict=True):
                    found.setdefault(number, []).append((p, float(unlikeness)))
            except Exception as error:
                errors |= {number: error for number, _ in clips}
        return [
            error_answer(file, errors[number]) if number in errors else self._answer(file, found[number])
            for number, file in enumerate(files)
        ]

    def answer(self, name: Path, clips: Sequence[Pack]) -> tuple[Answer, Floats]:
        """The answer for the packed `clips` of one video, as `predict` gives it for the file `name`.

        Also returns the features (F,) that its unlikeness was judged by, the mean over the clips; F is 0 for
        a network without a reference.
        """
        outputs = np.concatenate([self._outputs(clip[None]) for clip in clips])
        judged = self._calibration.answer(outputs, len(self.classes))
        answer = self._answer(name, [(p, float(unlikeness)) for p, unlikeness in zip(*judged, strict=True)])
        return answer, outputs[:, len(self.classes) :].mean(0)

    def place(self, features: Floats) -> Floats:
        """Where a clip with these features (F,) lies among those learnt from: see `Reference.place`.

        (d,), or (0,) for a network without a reference.
        """
        reference = self._calibration.reference
        return np.zeros(0) if reference is None else reference.place(features[None])[0]

    def explain(self, file: Path, label: str) -> Heat:
        """Where in the picture of `file` lies what speaks for the class `label`: see `occlusion_map`.

        The mean over the clips of a file. Raises the errors of `pack_clip`.
        """
        target = self.classes.index(label)
        clips = pack_clip(file, self.extract).clips
        maps = [occlusion_map(self._probabilities, clip, target, _at_once(clip)) for clip in clips]
        return np.asarray(np.mean(maps, axis=0))

    def _run_network(self, clips: Pack) -> tuple[Probabilities, Probabilities]:
        """(B, T, H, W, C) uint8 to probabilities (B, classes) and unlikeness (B,)."""
        return self._calibration.answer(self._outputs(clips), len(self.classes))

    def _outputs(self, clips: Pack) -> Floats:
        """(B, T, H, W, C) uint8 to logits and features (B, classes + F)."""
        return self._network(np.ascontiguousarray(clips.transpose(0, 1, 4, 2, 3)))

    def _probabilities(self, clips: Pack) -> Probabilities:
        return self._run_network(clips)[0]

    def _answer(self, file: Path, clips: list[tuple[Probabilities, float]]) -> Answer:
        mean = np.mean([p for p, _ in clips], axis=0)
        unlikeness = float(np.mean([unlikeness for _, unlikeness in clips]))
        answer = {
            "path": printable_path(file),
            "label": UNKNOWN if unlikeness > 1 else self.classes[int(mean.argmax())],
            **{f"p_{name}": float(p) for name, p in zip(self.classes, mean, strict=True)},
            "unlikeness": unlikeness,
            "error": "",
        }
        return {name: answer[name] for name in self.columns()}

    def columns(self) -> list[str]:
        """Column names of a table of answers."""
        named = [f"p_{name}" for name in self.classes]
        return ["path", "label", *named, *(["unlikeness"] if self._calibration.reference else []), "error"]


def _batches(clips: list[tuple[int, Pack]]) -> Iterator[list[tuple[int, Pack]]]:
    size = _at_once(clips[0][1])
    return (clips[start : start + size] for start in range(0, len(clips), size))


def _at_once(clip: Pack) -> int:
    return max(1, FRAMES // len(clip))


def error_answer(file: Path, error: Exception) -> Answer:
    """Return the answer for a file that cannot be predicted."""
    return {"path": printable_path(file), "label": None, "error": str(error) or type(error).__name__}
