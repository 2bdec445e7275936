"""What MLflow says of a version."""

from typing import Any

import pytest

from slimstream.registry.card import split_sentence, with_standing

CAMERA: dict[str, Any] = {"group_by": ["camera"], "given": None, "without": []}


@pytest.mark.parametrize(
    ("lineage", "words"),
    [
        (CAMERA, "split by camera"),
        ({**CAMERA, "group_by": [], "given": "part"}, "split as the column 'part' of the source says"),
        (
            {**CAMERA, "group_by": [], "without": ["camera", "recording"]},
            "split by near-twin sets, for they have no column camera or recording: clips of one camera may "
            "lie in training and in test, and the scores may be flattered",
        ),
        ({"group_by": []}, "split by near-twin sets"),  # a version of an earlier time
    ],
)
def test_the_card_says_how_the_clips_were_split(lineage: dict[str, Any], words: str) -> None:
    assert split_sentence(lineage) == words


def test_a_new_champion_changes_the_first_line_only() -> None:
    rest = "\n\nIt takes 1 MB.\n\n**Use:** so."
    card = f"Not champion, 2026-01-01: tiny version 1 is registered, but not champion.{rest}"
    assert with_standing(card, "2026-01-02T10:00", "tiny version 1 is champion.", champion=True) == (
        f"Champion, 2026-01-02: tiny version 1 is champion.{rest}"
    )
