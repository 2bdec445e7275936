"""Where a user lets something be written: over an earlier table of ours, never over a file of his own."""

from pathlib import Path

from slimstream.core.errors import UserError


def check_output(path: Path, *begins: str) -> None:
    """Refuse to write over a file that does not begin as one of ours does, with one of `begins`.

    What is not there, empty, or no file (/dev/stdout, a pipe) may be written. Raises UserError.
    """
    if path.is_dir():
        raise UserError(f"--out {path} is a folder: name a file.")
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(max(len(text.encode()) for text in begins))
    if head and not any(head.startswith(text.encode()) for text in begins):
        raise UserError(f"--out {path} is there already and is no table of ours: name another file.")
