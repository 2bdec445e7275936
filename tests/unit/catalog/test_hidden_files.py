from pathlib import PurePosixPath

import pytest

from slimstream.catalog.hidden_files import hidden_part


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("ok/._1.png", "ok/._1.png"),
        (".DS_Store", ".DS_Store"),
        ("__MACOSX/ok/1.png", "__MACOSX"),
        ("ok/.Trash-1000/files/1.png", "ok/.Trash-1000"),
        (".Spotlight-V100/x.png", ".Spotlight-V100"),
        (".fseventsd/1.png", ".fseventsd"),
        ("ok/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "ok/@eaDir"),
        ("#recycle/1.png", "#recycle"),
        ("$RECYCLE.BIN/1.png", "$RECYCLE.BIN"),
        ("System Volume Information/1.png", "System Volume Information"),
        ("ok/.ipynb_checkpoints/1-checkpoint.png", "ok/.ipynb_checkpoints"),
        ("ok/Thumbs.db", "ok/Thumbs.db"),
        ("lost+found/1.png", "lost+found"),
        ("ok/1.png", ""),
        ("lost and found/thumbs/1.png", ""),
        ("../1.png", ""),
    ],
)
def test_the_part_that_makes_a_path_clutter(key: str, part: str) -> None:
    assert hidden_part(PurePosixPath(key)) == part
