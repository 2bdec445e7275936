"""Hidden and system files that operating systems, NAS and tools write beside clips. They are never clips."""

from pathlib import PurePath

SYSTEM_NAMES = {
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
"""Names of system files and folders, in lower case."""


def hidden_part(key: PurePath) -> str:
    """Return the leading part of `key` that ends with its first hidden or system name, or "" without one.

    `key` is a path below a source. A name is hidden when it starts with a dot (`._1.png`, `.Trash-1000`,
    `.ipynb_checkpoints`). System names are compared without regard to case.
    """
    for depth, name in enumerate(key.parts, 1):
        if (name.startswith(".") and name.strip(".")) or name.casefold() in SYSTEM_NAMES:
            return "/".join(key.parts[:depth])
    return ""
