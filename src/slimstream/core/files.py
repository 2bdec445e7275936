"""Atomic writes, so that the presence of a file or folder means that it is complete; locks of folders."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slimstream.core.errors import UserError


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


def make_once(folder: Path, make: Callable[[Path], Path]) -> Path:
    """Return `folder`. Where it is missing, `make` gets an empty folder and returns the folder that it made.

    That lies in the folder it got, and is moved as a whole. If another process was faster, its folder stays.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as half:
            made = make(Path(half))
            try:
                made.replace(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    return folder


@contextmanager
def locked(folder: Path, busy: str = "") -> Iterator[int]:
    """Lock `folder` for this process; yields the lock's file descriptor.

    A child process that inherits it holds the lock until it ends, even if this process is killed. If another
    process holds it, this one waits or, when `busy` says why it cannot, raises UserError(busy).
    """
    import fcntl  # Windows, where the code of a bundle may run, has no such module

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            raise UserError(busy) from error
        yield lock.fileno()
