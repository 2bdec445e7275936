"""A state that was named in the inbox joins with enough clips; until then scan says what is missing."""

import pytest

from slimstream.catalog.listing import LABELLED, FileStat, Item, Listing
from slimstream.stages.ingest.held_out import HeldOut, group
from slimstream.stages.ingest.new_states import Needs, without_few

NEEDS = Needs.of(3, None)
BY = ["camera"]


def listing(*foam: str, grouped: bool = True) -> Listing:
    """Clips of the source, one of the inbox with a known state, and foam before these cameras."""
    rows = [("a.mp4", "leak", "gate"), ("b.mp4", "normal", "roof"), (f"{LABELLED}c.mp4", "leak", "gate")]
    rows += [(f"{LABELLED}{n}.mp4", "foam", camera) for n, camera in enumerate(foam)]
    stat = FileStat(1)
    return Listing([Item(key, label, stat, {"camera": c} if grouped else {}) for key, label, c in rows], {})


def look(found: Listing, known: tuple[str, ...] = (), tested: tuple[str, ...] = ()) -> tuple[int, list[str]]:
    """How many clips of foam join, and what is said."""
    memory = HeldOut(groups=frozenset(group({"camera": name}, BY) for name in tested))
    kept, told = without_few(found, known, NEEDS, BY, lambda: memory)
    assert [item for item in kept.items if item.label != "foam"] == found.items[:3]
    return len(kept.items) - 3, told


def test_a_new_state_with_enough_clips_joins_and_is_said_once() -> None:
    found = listing("gate", "gate", "roof")
    assert look(found) == (3, ["the inbox names a new state 'foam' with 3 clips."])
    assert look(found, known=("foam", "leak")) == (3, [])
    assert look(listing()) == (0, [])


@pytest.mark.parametrize(
    ("cameras", "missing"),
    [
        (["gate"], "1 clip, left out until there are 2 more clips and clips of 1 more group by camera."),
        (["gate", "roof"], "2 clips, left out until there are 1 more clip."),
        (["gate"] * 3, "3 clips, left out until there are clips of 1 more group by camera."),
    ],
)
def test_too_few_are_left_out_and_what_is_missing_is_said(cameras: list[str], missing: str) -> None:
    assert look(listing(*cameras), known=("foam",)) == (
        0,
        [f"the inbox names a new state 'foam' with {missing}"],
    )


def test_one_group_must_be_one_to_learn_from() -> None:
    count, (said,) = look(listing("gate", "gate", "roof"), tested=("gate", "roof"))
    assert count == 0 and "clips of 1 more group by camera that was never in the test part" in said
    assert look(listing("gate", "gate", "roof"), tested=("gate",))[0] == 3


def test_without_groups_each_clip_is_one() -> None:
    assert look(listing("gate", "gate", "gate", grouped=False))[0] == 3


def test_with_a_split_of_its_own_the_source_needs_no_second_group() -> None:
    needs = Needs.of(2, "part")
    kept, _ = without_few(listing("gate", "gate"), [], needs, BY, HeldOut)
    assert len(kept.items) == 5
