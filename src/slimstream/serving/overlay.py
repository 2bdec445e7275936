"""`predict --overlay`: each clip or picture with its label, probability and occlusion map drawn on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from slimstream.catalog.names import UNKNOWN
from slimstream.clips.video import open_clip
from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.core.media import Frame, is_picture
from slimstream.core.parallel import parallel_map
from slimstream.core.progress import progress_bar
from slimstream.serving.classifier import Answer, ClipClassifier
from slimstream.serving.occlusion import Heat
from slimstream.stages.evaluate.report.images import overlay

HEIGHTS = (240, 720)
"""Least and greatest height of what is written, in pixels, without the line of text."""
TEXT = 24
"""Size of the text in pixels; less where a line would be wider than the picture."""


@dataclass(frozen=True)
class _Drawing:
    file: Path
    out: Path
    label: str
    """The class whose map is drawn: the most probable one."""
    text: str
    model: Path
    runtime: str | None


def check_folder(folder: Path) -> None:
    """Raise UserError unless `folder` is new or empty: nothing in it is written over."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--overlay {folder} is there already and not empty: name a new folder.")


def write_overlays(
    files: Sequence[Path],
    answers: Sequence[Answer],
    model: Path,
    runtime: str | None,
    folder: Path,
    workers: int | None = None,
) -> dict[Path, Exception]:
    """Write a PNG for each picture and an H.264 MP4 for each video into `folder`, named after the file.

    Args:
        files: as given to `predict.predict`.
        answers: what it returned, one per file; files without a label are left out.
        model: the model that gave them; `runtime` likewise.
        folder: see `check_folder`.
        workers: number of processes; None for one per core.

    Returns the files for which that failed, with the reasons.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawings = [
        _Drawing(file, folder / name, *answer_text(answer), model, runtime)
        for file, name, answer in zip(files, _names(files), answers, strict=True)
        if answer["label"] is not None
    ]
    results = progress_bar(parallel_map(_draw, drawings, workers), "overlay", len(drawings))
    return {drawings[position].file: result for position, result in results if isinstance(result, Exception)}


def answer_text(row: Mapping[str, Any]) -> tuple[str, str]:
    """The most probable class of an answer, and the text to draw."""
    label = max((name for name in row if name.startswith("p_")), key=lambda name: float(row[name]))
    said = f"{label.removeprefix('p_')}  {row[label]:.0%}"
    return label.removeprefix("p_"), f"{UNKNOWN}, else {said}" if row["label"] == UNKNOWN else said


def _names(files: Sequence[Path]) -> Iterator[str]:
    """A name for each file: its stem, numbered where another file has the same."""
    taken: set[str] = set()
    for file in files:
        suffix = ".png" if is_picture(file) else ".mp4"
        name, number = f"{file.stem}{suffix}", 1
        while name.lower() in taken:
            number += 1
            name = f"{file.stem}-{number}{suffix}"
        taken.add(name.lower())
        yield name


def _draw(job: _Drawing) -> None:
    """Run in a process of the pool. The network is opened once per process."""
    classifier = _classifier(job.model, job.runtime)
    heat = classifier.explain(job.file, job.label)
    with atomic_write(job.out) as half, open_clip(job.file, classifier.extract.bits) as clip:
        pictures = (_picture(clip.picture(), heat, job) for _ in clip)
        if is_picture(job.file):
            _write_png(next(pictures), half)
        else:
            _write_video(pictures, clip.info.fps, half)


_classifier: Any = lru_cache(1)(ClipClassifier)


def _picture(frame: Frame, heat: Heat, job: _Drawing) -> Frame:
    """The frame at a height within HEIGHTS, with the map over it and a line of text above."""
    height, width = frame.shape[:2]
    scale = float(np.clip(height, *HEIGHTS)) / height
    size = [max(2, 2 * round(side * scale / 2)) for side in (width, height)]  # H.264 wants even numbers
    shown = overlay(np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8), heat)
    return np.concatenate([_line(job.text, size[0]), shown])


def _line(text: str, width: int) -> Frame:
    """`text` in white on black, (2 · TEXT, width, 3)."""
    font, line = cv2.FontFace("sans"), np.zeros((2 * TEXT, width, 3), np.uint8)
    needed = cv2.getTextSize((0, 0), text, (0, 0), font, TEXT, 400)[2]
    size = max(8, min(TEXT, TEXT * (width - 16) // max(1, needed)))
    cv2.putText(line, text, (8, TEXT + size // 3), (255, 255, 255), font, size, 400)
    return line


def _write_png(picture: Frame, file: Path) -> None:
    ok, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not ok:
        raise ValueError(f"a picture of {picture.shape[1]} × {picture.shape[0]} pixels cannot be written")
    file.write_bytes(data.tobytes())


def _write_video(pictures: Iterator[Frame], fps: float, file: Path) -> None:
    """Write the pictures with equal times, at the clip's mean rate `fps`."""
    with av.open(str(file), "w") as container:
        stream: Any = None
        for picture in pictures:
            if stream is None:
                rate = Fraction(fps).limit_denominator(1001) if fps else 25
                stream = container.add_stream("libx264", rate=rate)
                stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
