"""Who leaves a full day, and a full disk."""

from dataclasses import replace

import numpy as np

from slimstream.watch.inbox.item import Item
from slimstream.watch.inbox.keep import leaving, surplus
from tests.unit.watch.inbox.windows import item


def at(*places: float, **more: float) -> list[Item]:
    return [item(second, place=[place], **more) for second, place in enumerate(places)]


def test_there_is_room() -> None:
    assert leaving(at(0, 1), item(9, place=[1.0]), 3) is None


def test_of_the_two_most_alike_the_less_useful_leaves() -> None:
    first, second, third = at(0, 5, 9)
    assert leaving([first, second, third], item(9, place=[5.5], usefulness=0.5), 3) == item(
        9, place=[5.5], usefulness=0.5
    )
    assert leaving([first, second, third], item(9, place=[5.5], usefulness=1.5), 3) == second


def test_one_long_fault_does_not_fill_the_day() -> None:
    rng, kept = np.random.default_rng(0), list[Item]()
    for second, place in enumerate([*rng.normal(0, 0.1, 40), 50.0, *rng.normal(0, 0.1, 10)]):
        new = item(second % 60, place=[float(place)], usefulness=float(rng.random()))
        if (gone := leaving(kept, new, 5)) is not new:
            kept = [each for each in [*kept, new] if each is not gone]
    assert len(kept) == 5 and max(each.place[0] for each in kept) == 50


def test_what_was_decided_stays() -> None:
    done, other = (replace(each, decided="now", label="leak") for each in at(0, 9))
    new = item(9, place=[0.0])
    assert leaving([done, other], new, 2) is new
    (open_,) = at(4)
    assert leaving([done, open_], item(9, place=[4.1], usefulness=1.0), 2) == open_


def test_where_places_are_not_known_the_least_useful_leaves() -> None:
    kept = [item(second, usefulness=u) for second, u in enumerate((0.9, 0.3, 0.8))]
    assert leaving(kept, item(9, usefulness=0.5), 3) == kept[1]
    others = [replace(each, version="tiny 2", place=(1.0,)) for each in kept]
    assert leaving(others, item(9, usefulness=0.1, place=[1.0]), 3) == others[1]  # of another network


def test_the_disk_is_bounded_and_labelled_windows_do_not_count() -> None:
    kept = [item(second, usefulness=u) for second, u in enumerate((0.9, 0.3, 0.8))]
    labelled = item(7, usefulness=0.1, label="leak", decided="now")
    dismissed = item(8, usefulness=1.9, dismissed=True, decided="now")
    everyone = [*kept, labelled, dismissed]
    assert surplus(everyone, [1] * 5, 4, 99) == []
    assert surplus(everyone, [1] * 5, 2, 99) == [dismissed, kept[1]]
    assert surplus(everyone, [10, 10, 10, 1000, 10], 99, 25) == [dismissed, kept[1]]
