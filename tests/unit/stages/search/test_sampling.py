"""Samples of a space of candidates."""

from slimstream.stages.search.candidates import Candidate
from slimstream.stages.search.sampling import sample

SPACE = [
    Candidate(streams, frames, (size, size), depth, 1, "lite0")
    for streams in ("both", "rgb")
    for frames in (8, 4, 2, 1)
    for size in (224, 128, 96, 64)
    for depth in (7, 6, 5, 4)
]


def test_so_many_as_asked_each_once_and_the_same_again() -> None:
    seen: list[Candidate] = []

    def judge(one: Candidate) -> tuple[float, float]:
        """Deep networks on large pictures are better."""
        seen.append(one)
        return one.depth / 7 + one.size[0] / 224, float((one.frames or 8) * one.size[0])

    found = sample(SPACE, 12, judge)
    assert len(found) == len(set(seen)) == len(seen) == 12 and set(found) == set(seen)
    assert found == [one for one in SPACE if one in seen]
    assert sample(SPACE, 12, judge) == found


def test_what_did_well_is_proposed_more_often() -> None:
    seen: list[Candidate] = []

    def judge(one: Candidate) -> tuple[float, float]:
        seen.append(one)
        return float(one.streams == "rgb" and one.depth == 7), 1.0

    sample(SPACE, 24, judge)
    good = [one.streams == "rgb" and one.depth == 7 for one in seen]
    assert sum(good) >= 2 * 24 / 8  # of eight, one has both


def test_nothing_is_judged_where_all_are_tried() -> None:
    def judge(one: Candidate) -> tuple[float, float]:
        raise AssertionError

    assert sample(SPACE, None, judge) == sample(SPACE, 500, judge) == SPACE


def test_of_a_space_with_holes_the_rest_is_drawn() -> None:
    """Where nearly all are wanted, the sampler repeats itself."""
    holes = SPACE[::11]
    assert len(set(sample(holes, len(holes) - 1, lambda one: (1.0, 1.0)))) == len(holes) - 1
