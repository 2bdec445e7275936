"""Check an output path given by the user: our own tables may be overwritten, other files may not."""

from pathlib import Path

from slimstream.core.errors import UserError


def check_overwrite(path: Path, *beginnings: str) -> None:
    """Raise UserError when `path` exists and does not begin with one of the strings `begins`.

    A missing or empty file, a pipe and a device such as /dev/stdout are allowed. A folder raises UserError.
    """
    if path.is_dir():
        raise UserError(f"--out {path} is a folder: name a file.")
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(max(len(text.encode()) for text in beginnings))
    if head and not any(head.startswith(text.encode()) for text in beginnings):
        raise UserError(f"--out {path} is there already and is no table of ours: name another file.")
