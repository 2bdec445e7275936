"""What MLflow says of a version."""

from typing import Any

import pytest

from slimstream.registry.card import SHOWN, groups_sentence, licence, not_for, split_sentence, with_standing
from slimstream.registry.scores import Score, Scores

CAMERA: dict[str, Any] = {"group_by": ["camera"], "given": None, "without": []}


@pytest.mark.parametrize(
    ("lineage", "words"),
    [
        (CAMERA, "split by camera"),
        ({**CAMERA, "group_by": [], "given": "part"}, "split as the column 'part' of the source says"),
        (
            {**CAMERA, "group_by": [], "without": ["camera", "recording"]},
            "split by near-twin sets, not by camera or recording: clips of one camera may "
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


def test_few_groups_are_all_named_and_of_many_the_weakest() -> None:
    groups = [Score(f"g{n}", 10, 10, n) for n in range(SHOWN + 1)]
    few = groups_sentence(Scores(groups[1:3], []))
    assert few.endswith("by group, with 95 % intervals: g1: 1 of 10 (2 to 40 %); g2: 2 of 10 (6 to 51 %).")
    many = groups_sentence(Scores(groups, []))
    assert many.startswith("of 6 groups those with the lowest share") and "g4" in many and "g5" not in many


def test_the_words_of_the_maker_come_first_and_what_nobody_said_is_said_to_be_so() -> None:
    assert not_for("Pumps at night.").startswith("Pumps at night. It knows its classes alone")
    assert not_for(None).startswith("It knows its classes alone")
    assert "none is named" in licence(None) and licence("CC BY 4.0").endswith("Network: CC BY 4.0.")
