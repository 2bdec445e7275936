"""Files that an operating system, a NAS or a tool leaves beside clips; nobody means them as clips."""

from pathlib import PurePath

SYSTEM = {
    "__macosx",  # a ZIP packed on macOS
    "network trash folder",
    "temporary items",
    "$recycle.bin",  # Windows
    "recycler",
    "recycled",
    "system volume information",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "lost+found",  # Linux
    "@eadir",  # Synology
    "@tmp",
    "#recycle",
    "#snapshot",
    "@recycle",  # QNAP
    "@recently-snapshot",
    "__pycache__",
}
"""Names of files and folders, in small letters."""


def clutter(key: PurePath) -> str:
    """The part of `key` (a path below a source) that makes it clutter, from its start; "" where none does.

    Hidden names (`._1.png`, `.Trash-1000`, `.ipynb_checkpoints`) and those of SYSTEM count, in any letters.
    """
    for depth, name in enumerate(key.parts, 1):
        if (name.startswith(".") and name.strip(".")) or name.casefold() in SYSTEM:
            return "/".join(key.parts[:depth])
    return ""
