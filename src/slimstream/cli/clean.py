"""`make clean`: delete the outputs that dvc.yaml names and the report made of them, and nothing else."""

import shutil
from pathlib import Path

from slimstream.core.paths import Paths
from slimstream.stages.ingest.reserved_folders import check_ingested, stage_outputs


def clean(paths: Paths) -> tuple[list[Path], list[Path]]:
    """Delete the outputs of the stages of dvc.yaml and reports/index.html; returns (deleted, left alone).

    A link is deleted, never its target. Outputs inside a linked folder or outside the project are left alone,
    because they may belong to somebody else. Raises UserError when data/ingested holds files of the user.
    """
    check_ingested(paths)
    root = paths.root.resolve()
    deleted: list[Path] = []
    left: list[Path] = []
    for out in [*stage_outputs(root), Paths(root).report]:
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
    """Whether all folders between the project's root and `out` are real folders: no links, no mounts."""
    if ".." in out.parts or not out.is_relative_to(root) or out == root:
        return False
    inside = [folder for folder in out.parents if folder.is_relative_to(root) and folder != root]
    return not any(folder.is_symlink() or folder.is_mount() for folder in inside)
