"""One name for all that a result depends on: equal names, equal results."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

ROOMS = (
    "catalog",
    "clips",
    "datasets",
    "metrics",
    "models",
    "runtimes",
    "splits",
    "stages",
    "training",
)
"""Folders of this package whose code decides what a training ends with."""


def fingerprint(texts: Iterable[str], files: Iterable[Path]) -> str:
    """16 hex digits over `texts`, names and contents of `files` (a missing one is empty) and our code."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
    package = Path(__file__).parents[1]
    code = [path for room in ROOMS for path in sorted((package / room).rglob("*.py"))]
    for path in [*files, *code]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()[:16]
