"""Progress of long work: a logging callable for metrics and a progress bar."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

Log = Callable[[Mapping[str, float], int], None]
"""`log(metrics, step)` records metrics. Stages and training do not know where they go."""


def null_log(metrics: Mapping[str, float], step: int) -> None:
    """Ignore all metrics."""


def progress_bar(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Iterate with a progress bar on stderr; without a terminal print a line at most every ten seconds."""
    from tqdm import tqdm

    quiet = not sys.stderr.isatty()
    return tqdm(
        items,
        description,
        total,
        ascii=quiet,
        mininterval=10 if quiet else 0.2,
        dynamic_ncols=not quiet,
        disable=os.environ.get("RANK", "0") != "0",  # only rank 0 shows it
    )
