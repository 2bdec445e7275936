"""What long work tells while it goes on: numbers to whoever tracks them, a bar to whoever watches."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

Log = Callable[[Mapping[str, float], int], None]
"""`log(metrics, step)`: stages and training report through it and never know who listens."""


def null_log(metrics: Mapping[str, float], step: int) -> None:
    """Listen to nothing."""


def bar(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """`items` with a progress bar on stderr; without a terminal a line at most every ten seconds."""
    from tqdm import tqdm

    quiet = not sys.stderr.isatty()
    return tqdm(
        items,
        description,
        total,
        ascii=quiet,
        mininterval=10 if quiet else 0.2,
        dynamic_ncols=not quiet,
        disable=os.environ.get("RANK", "0") != "0",  # of processes that train together one shows it
    )
