"""Atomic writes: a file is complete or does not exist, so its presence means that the work is done."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path. At the end it replaces `path`; after an error `path` is unchanged.

    The temporary name holds host and process id, because several processes may write the same file. It begins
    with `temporary-`, so that files left by killed processes can be recognised.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"temporary-{socket.gethostname()}-{os.getpid()}-{path.name}")
    try:
        yield half
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
