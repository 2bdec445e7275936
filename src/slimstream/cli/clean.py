"""`make clean`: the outs that dvc.yaml names go, and nothing beside them."""

import shutil
from pathlib import Path

from slimstream.core.paths import Paths
from slimstream.stages.ingest.reserved_folders import check_ingested, stage_outputs


def clean(paths: Paths) -> tuple[list[Path], list[Path]]:
    """Delete what the stages of dvc.yaml made; returns (deleted, left alone).

    A link is deleted, never what it leads to. What lies behind a linked folder, or outside of the project, is
    left alone: it may belong to somebody else. Raises UserError when data/ingested holds what is not ours.
    """
    check_ingested(paths)
    root = paths.root.resolve()
    deleted: list[Path] = []
    left: list[Path] = []
    for out in stage_outputs(root):
        if not (out.is_symlink() or out.exists()):
            continue
        if not _is_within(out, root):
            left.append(out)
            continue
        if out.is_dir() and not out.is_symlink():
            shutil.rmtree(out)
        else:
            out.unlink()
        deleted.append(out)
    return deleted, left


def _is_within(out: Path, root: Path) -> bool:
    """Whether the way from the project to `out` leads through real folders of the project alone."""
    if ".." in out.parts or not out.is_relative_to(root) or out == root:
        return False
    inside = [folder for folder in out.parents if folder.is_relative_to(root) and folder != root]
    return not any(folder.is_symlink() or folder.is_mount() for folder in inside)
