"""Files that are whole or not there: whoever finds one counts what it says as done."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield where to write what `path` shall hold: it takes its place at the end, an error leaves it alone.

    The name tells host and process, for several may make the same file side by side, and begins with
    `temporary-`, by which what a kill left behind is known.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"temporary-{socket.gethostname()}-{os.getpid()}-{path.name}")
    try:
        yield half
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
