"""Grad-CAM of several networks at every convolution, as one picture (P3, Fig. 9).

For simulated pictures: those of real clips do not belong into the repository.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from slimstream.experiments.tables.cells import Cell
from slimstream.experiments.tables.spec import Figure

if TYPE_CHECKING:
    from torch import nn

EACH = 2
"""Pictures of every class."""


def draw_heat_maps(figure: Figure, cells: Mapping[str, Cell], file: Path) -> None:
    """Write `file`.png: the networks of `cells`, by name, on test pictures; a line for each of both.

    The pictures are the first of every class by id, whatever the networks answer. Each map is of the answer
    of its network, by the score that the settings name (`evaluate.gradcam`), scaled by its own maximum.
    """
    from matplotlib.figure import Figure as Canvas

    from slimstream.core.files import atomic_write
    from slimstream.models import create_model
    from slimstream.models.checkpoint import load_model
    from slimstream.runtimes.split_part import SplitPart
    from slimstream.stages.evaluate.report.gradcam import layer_gradcam
    from slimstream.stages.evaluate.report.images import overlay, rgb_view

    lines = []
    for name, cell in cells.items():
        paths = cell.last.paths
        model, card = load_model(paths.model(cell.model), create_model)
        test = SplitPart.of(pd.read_parquet(paths.split), "test", card.classes, paths)
        test = test.reduced(card.network_input.reduce)
        for kind in range(len(card.classes)):
            for number, i in enumerate(np.flatnonzero(test.truth == kind)[:EACH]):
                clip = test.batch(int(i))[0]
                picture = rgb_view(test.clips.all_frames(int(i))[0])
                layers = layer_gradcam(model, clip, score=cell.params.evaluate.gradcam)
                answer = card.classes[_answer(model, clip)]
                title = f"{card.classes[kind]} {number + 1}, {name}: {answer}"
                lines.append(((kind, number), title, picture, [overlay(picture, heat[0]) for heat in layers]))
    lines.sort(key=lambda line: line[0])  # stable: the networks stay in their order
    columns = 1 + max(len(heated) for *_, heated in lines)
    canvas = Canvas(figsize=(0.9 * columns, 1.1 * len(lines)), layout="constrained", dpi=80)
    axes = canvas.subplots(len(lines), columns, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for row, (_, title, picture, heated) in zip(axes, lines, strict=True):
        row[0].set_title(title, loc="left", fontsize=7)
        for ax, shown in zip(row, [picture, *heated], strict=False):
            ax.imshow(shown)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file.with_suffix(".png")) as half:
        canvas.savefig(half, format="png", metadata={"Software": None})


def _answer(model: "nn.Module", clip: npt.NDArray[np.uint8]) -> int:
    """Index of the class that `model` predicts for `clip` (T, C, H, W)."""
    import torch

    with torch.inference_mode():
        return int(model(torch.from_numpy(clip)[None].float()).argmax())
