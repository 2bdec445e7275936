"""Tables of models: all networks with their size, and those of the last run with their scores and costs."""

import json
import re
from collections.abc import Callable, Sequence
from inspect import getdoc
from typing import Any

import torch
from torch import nn

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.models import MODELS, create_model, has_pretrained, with_pretrained
from slimstream.stages.evaluate.model_rows import model_rows, text_table
from slimstream.stages.evaluate.report.judged import is_made_of

RECOMMENDED = {
    "light_residual_net_small": "thousands of grey pictures, without pretrained weights",
    "efficientnet_frames": "clips that single frames tell apart, and pictures; pretrained (recipe casting)",
    "two_stream_efficientnet_lite0": "clips in which motion counts; pretrained, so a few hundred suffice "
    "(recipe tank)",
    "two_stream_dilated_efficientnetv2": "the same with thousands of clips and a GPU (recipe p2-paper)",
}
"""Networks to begin with, from small to large, and for what."""

Measure = Callable[[nn.Module, tuple[int, ...]], tuple[int, int]]
"""(network, clip shape) to its parameters and multiply-accumulates; `models.cost.measure` is one."""


def model_table(
    num_classes: int, size: tuple[int, int], frames: int, measure: Measure
) -> list[dict[str, Any]]:
    """One row per network with its default arguments, for a clip of `frames` frames of `size` (H, W).

    Keys: name, description, recommended (a value of RECOMMENDED, or ""), paper ('P1', …), pretrained (whether
    ImageNet weights are the default), weights (whether ImageNet weights exist for it), params, input
    (T, C, H, W), macs (for that input), macs_per_frame.
    """
    rows = []
    for name, factory in MODELS.items():
        with torch.device("meta"):  # no weights are drawn
            model = create_model(name, num_classes, pretrained=False)
        shape = (frames, max(model.channels), *size)
        params, macs = measure(model, (1, *shape))
        summary = (getdoc(factory) or "").split("\n", 1)[0]
        paper = re.search(r"\bP\d\b", summary)
        rows.append(
            {
                "name": name,
                "description": summary.rstrip("."),
                "recommended": RECOMMENDED.get(name, ""),
                "paper": paper[0] if paper else "",
                "pretrained": with_pretrained(name, {})["pretrained"],
                "weights": has_pretrained(name),
                "params": params,
                "input": shape,
                "macs": macs,
                "macs_per_frame": macs // frames,
            }
        )
    return rows


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """The table for a terminal, from few to many multiply-accumulates, and those to begin with below it."""
    rows = sorted(rows, key=lambda r: r["macs"])
    lines = [("model", "paper", "ImageNet", "params", "MACs/clip", "MACs/frame", "")]
    lines += [
        (
            r["name"],
            r["paper"],
            "yes" if r["pretrained"] else "if asked" if r["weights"] else "no",
            f"{r['params'] / 1e6:.2f} M",
            f"{r['macs'] / 1e9:.2f} G",
            f"{r['macs_per_frame'] / 1e9:.2f} G",
            r["description"],
        )
        for r in rows
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(7)]
    aligns = "<<<>>><"
    table = [
        "  ".join(
            f"{cell:{align}{width}}" for cell, align, width in zip(line, aligns, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    begin = [f"  {name:{widths[0]}}  {use}" for name, use in RECOMMENDED.items()]
    return "\n".join([*table, "", "To begin with:", *begin])


def evaluated_models(paths: Paths, *, as_json: bool) -> str:
    """The models of the last run, with costs as shares of the original's: a table, or JSON.

    Below the table it is said when reports/index.html is of another run. Raises UserError when
    `evaluate` has not run.
    """
    import pandas as pd

    file = paths.metrics("evaluate")
    if not file.exists():
        raise UserError(f"{file} is not there; run the stage evaluate first, as `make run` does.")
    flat = json.loads(file.read_text())
    if not as_json:
        table = pd.DataFrame(text_table(flat)).to_string(index=False)
        return "\n\n".join(filter(None, [table, _stale_report(paths)]))
    rows = [
        {"model": row.name, **row.scores, **{f"{cost.key}_ratio": cost.ratio for cost in row.costs}}
        for row in model_rows(flat)
    ]
    return json.dumps(rows, indent=2)


def _stale_report(paths: Paths) -> str:
    """A sentence where DVC restored `evaluate` from its cache, so that nothing has written the report."""
    page, report = paths.report_page, paths.report
    if not (page.exists() and report.exists()) or is_made_of(
        report.read_text("utf-8"), page.read_text("utf-8")
    ):
        return ""
    return f"{report} is of another run: `python -m slimstream publish` writes it for this one."
