"""How many clips are right, by group and class, and how sure that is."""

from pathlib import Path

import pytest

from slimstream.core.paths import Paths
from slimstream.registry.scores import FILE, Score, count_scores, read_scores
from tests.unit.finished_pipeline import write_clips, write_evaluation


def test_they_are_counted_from_what_evaluate_left(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    write_clips(paths, {"north": "train", "east": "test", "west": "test"})
    write_evaluation(paths, red=9, bias=-1.8)
    scores = count_scores(paths, "distilled")
    assert sorted(score.name for score in scores.groups) == ["east", "west"]
    assert [(score.name, score.clips, score.sets) for score in scores.classes] == [
        ("leak", 8, 8),
        ("normal", 8, 8),
    ]
    right = sum(score.right for score in scores.classes)
    assert right == sum(score.right for score in scores.groups) < 16
    (tmp_path / FILE).write_text(scores.to_json())
    assert read_scores(tmp_path) == scores and read_scores(tmp_path / "older") is None


def test_an_interval_is_wide_where_there_are_few_or_they_are_alike() -> None:
    low, high = Score("a", 10, 10, 5).interval  # Wilson 1927: 0.5 ± 0.263
    assert (low, high) == pytest.approx((0.237, 0.763), abs=1e-3)
    assert Score("a", 4, 4, 4).interval == pytest.approx((0.51, 1.0), abs=1e-2), "all of few says little"
    assert Score("a", 100, 4, 100).interval == Score("a", 4, 4, 4).interval
