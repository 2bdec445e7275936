"""The network that answers: where it comes from, what the gate said of it, how it judges a window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from slimstream.clips.packs import pack_frames
from slimstream.clips.timeline import Timeline
from slimstream.core.errors import UserError
from slimstream.core.media import Frame
from slimstream.core.parallel import cores
from slimstream.runtimes.calibration import Floats
from slimstream.serving.classifier import Answer, ClipClassifier


@dataclass(frozen=True, eq=False)
class Model:
    """A network that can be asked."""

    classifier: ClipClassifier
    name: str
    """As the user knows it: a registered model and its version, or a folder."""
    seconds: float
    """Length of a window; 0: one picture."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of the version in the registry, such as `gate` and `macro_f1`; empty for a folder."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that frames are resized to."""
        return self.classifier.extract.size

    def answer(self, pictures: Sequence[Frame], seconds: Sequence[float]) -> tuple[Answer, Floats]:
        """The answer for the frames of a window, made by `packs.resize`, and their increasing times.

        Also returns its features (F,): see `ClipClassifier.answer`. Raises ValueError when the network's
        input cannot be made of them.
        """
        packed = pack_frames(pictures, Timeline(np.array(seconds)), self.classifier.extract)
        return self.classifier.answer(Path(), packed.clips)


def load_model(
    folder: Path,
    name: str,
    runtime: str | None,
    window: float | None,
    tags: Mapping[str, str] | None = None,
) -> Model:
    """The network in `folder`, which has answered once for a black window.

    `window` is the length of a window in seconds; None: that of the clips it learnt from. Raises UserError
    when the folder holds no deployed network, when it does not answer, and when no length is known.
    """
    classifier = ClipClassifier(folder, runtime, threads=cores())
    seconds = classifier.seconds if window is None else window
    if seconds is None:
        raise UserError(
            f"{name} does not say how long the clips were that it learnt from: set `window` in the file of "
            "--settings."
        )
    model = Model(classifier, name, seconds, tags or {})
    black = np.zeros((*model.size, 3), np.uint8)
    frames = classifier.extract.frames or 8
    count = frames + classifier.extract.reach if seconds else 1
    try:
        model.answer([black] * count, [float(i) for i in range(count)])
    except Exception as error:  # each runtime has exceptions of its own
        raise UserError(f"{name} does not answer: {error}") from error
    return model
