"""What is said of a metadata.csv that cannot be read; test_sources.py has those that can."""

import pytest

from slimstream.catalog.metadata import read_metadata
from slimstream.core.errors import UserError


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'path,label\na.mp4,"open\n', r"clips.csv, line 2: unexpected end of data"),
        (
            b"path,label\na.mp4,ok\nb.mp4," + b"x" * 140_000,
            "clips.csv, line 3: field larger than field",
        ),
        (b"x" * 140_000 + b",label\n", r"clips.csv, line 1: field larger than field limit"),
        (b"file,label\na.mp4,ok\n", r"clips.csv lacks the column path; its first line has: file, label"),
        (b"path,label,\xe4\n", "neither UTF-8 nor UTF-16"),
        (b"", r"lacks the column path and label; its first line has: nothing"),
        (b"path,label,site,site\n", "a column has no name or one that is there twice"),
    ],
)
def test_what_is_wrong_is_said_with_the_line(content: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_metadata(content, "clips.csv")
