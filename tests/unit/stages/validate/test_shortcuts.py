"""A planted cue is found across groups; a clean one, or one that works within a group alone, is not."""

import numpy as np
import pytest

from slimstream.stages.validate.shortcuts import find_shortcuts

LABELS = np.tile(np.repeat(["down", "up", "still"], [12, 5, 4]), 4)
GROUPS = np.repeat(["north", "south", "east", "west"], 21)
TWINS = np.array([f"t{i}" for i in range(len(LABELS))])


def clean(seed: int, features: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    offset = {group: rng.normal(0, 5, features) for group in np.unique(GROUPS)}
    return np.array([offset[group] for group in GROUPS]) + rng.normal(size=(len(LABELS), features))


def p_of(cue: np.ndarray, grouped: bool = True, **more: int) -> float:
    groups = GROUPS.tolist() if grouped else None
    return find_shortcuts({"cue": cue}, LABELS.tolist(), groups, TWINS.tolist(), **more)[0].p


def test_a_planted_cue_is_found_and_named() -> None:
    rng = np.random.default_rng(0)
    box = np.where((LABELS == "up") & (rng.random(len(LABELS)) < 0.8), 0.2, 0.0)
    found = find_shortcuts(
        {"plain": clean(1), "border": box}, LABELS.tolist(), GROUPS.tolist(), TWINS.tolist()
    )
    assert [cue.flagged for cue in found] == [False, True]
    assert (found[1].cue, found[1].label) == ("border", "up")
    assert found[1].score > 0.8 and found[1].p == pytest.approx(1 / 200)


def test_a_cue_that_no_straight_line_finds() -> None:
    middle = np.where(LABELS == "down", 5.0, np.random.default_rng(0).choice([1.0, 9.0], len(LABELS)))
    assert p_of(middle) < 0.01


def test_a_wide_cue_is_found() -> None:
    frame = clean(2, 200)
    frame[:, 17] += 4 * (LABELS == "still")
    frame[:, 90] -= 4 * (LABELS == "down")
    assert p_of(frame) < 0.01


def test_what_tells_the_label_within_a_group_only_is_no_shortcut() -> None:
    sign = np.where(np.isin(GROUPS, ["north", "south"]), 1.0, -1.0)  # the reverse in half of the groups
    assert p_of(sign * np.where(LABELS == "down", 1, -1)) > 0.5


def test_what_each_group_shows_in_a_way_of_its_own_is_no_shortcut() -> None:
    frame = clean(4, 40)
    for k, group in enumerate(np.unique(GROUPS)):
        frame[:, k] = 9 * ((LABELS == "down") & (group == GROUPS))
    assert p_of(frame) > 0.01
    assert p_of(frame, grouped=False) < 0.01  # across clips it tells


@pytest.mark.parametrize("grouped", [True, False])
def test_false_alarms_are_as_rare_as_they_should_be(grouped: bool) -> None:
    p = np.array([p_of(clean(seed, 4), grouped) for seed in range(60)])
    assert (p < 0.01).mean() <= 0.05
    assert 0.35 < p.mean() < 0.65


def test_twins_are_one_witness() -> None:
    # One clip copied thirty times is no evidence: without twin sets it would be.
    value, labels = clean(5)[:, 0], np.where(np.arange(84) % 21 < 12, "a", "b")
    value[:12], labels[:12] = 40.0, "a"
    value[21:33], labels[21:33] = 40.0, "a"
    copies = np.array([f"n{i // 12}" if i in {*range(12), *range(21, 33)} else f"t{i}" for i in range(84)])
    lone = find_shortcuts({"cue": value}, labels.tolist(), GROUPS.tolist(), TWINS.tolist())[0].p
    tied = find_shortcuts({"cue": value}, labels.tolist(), GROUPS.tolist(), copies.tolist())[0].p
    assert lone < 0.01 < tied


def test_groups_of_one_class_each_are_permuted_whole() -> None:
    groups = [f"g{i // 3}" for i in range(90)]
    labels = [("a", "b")[i // 3 % 2] for i in range(90)]
    told = np.array([label == "a" for label in labels], float)
    rng = np.random.default_rng(0)
    found = find_shortcuts(
        {"told": told, "noise": rng.normal(size=90)}, labels, groups, [str(i) for i in range(90)]
    )
    assert [cue.flagged for cue in found] == [True, False]


def test_constant_cues_and_a_single_clip_are_no_error() -> None:
    assert p_of(np.ones(len(LABELS))) == 1
    assert find_shortcuts({"cue": [1.0]}, ["a"], None, ["t"])[0].p == 1


def test_the_same_seed_gives_the_same_p() -> None:
    assert p_of(clean(7), seed=3) == p_of(clean(7), seed=3)
