"""Confident learning finds labels that were swapped, and leaves clips alone that are merely hard."""

import json
from pathlib import Path

import numpy as np

from slimstream.stages.export.suspects import confident_classes, find_suspects, write_suspects

RNG = np.random.default_rng(0)
CLASSES = ["a", "b", "c"]


def test_the_example_by_hand() -> None:
    """Means of the own class: a 0.6, b 0.7. The third clip has b at 0.75 and label a."""
    p = np.array([[0.8, 0.2], [0.75, 0.25], [0.25, 0.75], [0.3, 0.7], [0.35, 0.65]])
    given = np.array([0, 0, 0, 1, 1])
    assert confident_classes(p, given).tolist() == [0, 0, 1, 1, -1]
    (found,) = find_suspects(p, given, [*"vwxyz"], CLASSES[:2])
    assert (found.id, found.given, found.suggested, found.p_given) == ("x", "a", "b", 0.25)


def test_swapped_labels_are_found() -> None:
    truth = np.arange(600) % 3
    logits = 4 * np.eye(3)[truth] + RNG.normal(size=(600, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    given = truth.copy()
    wrong = RNG.choice(600, 30, replace=False)
    given[wrong] = (truth[wrong] + 1) % 3
    found = find_suspects(p, given, [f"{n:03}" for n in range(600)], CLASSES)
    ids = {int(s.id) for s in found}
    assert len(ids & set(wrong)) >= 25 and len(ids - set(wrong)) <= 5
    assert [s.p_suggested - s.p_given for s in found] == sorted(
        (s.p_suggested - s.p_given for s in found), reverse=True
    )
    assert all(CLASSES[truth[int(s.id)]] == s.suggested for s in found if int(s.id) in set(wrong))


def test_what_is_guessed_is_no_reason_to_suspect() -> None:
    given = np.arange(90) % 3
    assert not find_suspects(np.full((90, 3), 1 / 3), given, [str(n) for n in range(90)], CLASSES)


def test_parts_of_a_video_are_one_clip_and_a_class_may_be_empty() -> None:
    p = np.array([[0.9, 0.1, 0], [0.1, 0.9, 0], [0.9, 0.1, 0], [0.2, 0.8, 0], [0.9, 0.1, 0]])
    found = find_suspects(p, np.array([0, 0, 0, 1, 1]), ["v", "v", "w", "x", "y"], CLASSES)
    assert [s.id for s in found] == ["y"]


def test_the_file_says_how_many_were_judged(tmp_path: Path) -> None:
    p = np.array([[0.8, 0.2], [0.75, 0.25], [0.25, 0.75], [0.3, 0.7], [0.35, 0.65]])
    write_suspects(find_suspects(p, np.array([0, 0, 0, 1, 1]), [*"vwxyz"], CLASSES), 5, tmp_path)
    content = json.loads((tmp_path / "suspects.json").read_text())
    assert content["judged"] == 5 and content["suspects"] == [
        {"id": "x", "given": "a", "suggested": "b", "p_given": 0.25, "p_suggested": 0.75}
    ]
