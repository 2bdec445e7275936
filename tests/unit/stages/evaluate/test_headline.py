"""The headline of a run, worked out by hand."""

import pytest

from slimstream.stages.evaluate.headline import headline


def test_the_row_is_that_of_the_model_to_publish_against_its_original() -> None:
    flat = {
        "original.macro_f1": 0.9,
        "original.file_to_answer_p50_ms": 80.0,
        "pruned.macro_f1": 0.88,
        "pruned.macro_f1_low": 0.8,
        "pruned.macro_f1_high": 0.95,
        "pruned.file_to_answer_p50_ms": 20.0,
        "pruned.params": 1000.0,
        "distilled.macro_f1": 0.7,
        "test.clips": 50.0,
    }
    row = headline(flat, "pruned")
    assert row["judged_clips"] == 50
    assert (row["macro_f1_low"], row["macro_f1"], row["macro_f1_high"]) == (0.8, 0.88, 0.95)
    assert row["saving"] == pytest.approx(0.75) and row["original_macro_f1"] == 0.9
    assert row["parameters"] == 1000 and "megabytes" not in row  # what was not measured


def test_files_of_several_clips_have_scores_of_their_own() -> None:
    flat = {"slim.macro_f1": 0.8, "slim.video_macro_f1": 0.9, "slim.video_macro_f1_low": 0.85}
    row = headline(flat, "slim")
    assert (row["macro_f1"], row["video_macro_f1"], row["video_macro_f1_low"]) == (0.8, 0.9, 0.85)


def test_a_slower_model_saves_less_than_nothing() -> None:
    scores = {"slim.file_to_answer_p50_ms": 6.0, "original.file_to_answer_p50_ms": 4.0}
    assert headline(scores, "slim") == {"file_to_answer_ms": 6.0, "saving": -0.5}


def test_a_difference_within_the_spread_of_the_times_saves_nothing() -> None:
    scores = {"slim.file_to_answer_p50_ms": 6.0, "original.file_to_answer_p50_ms": 9.0}
    scores |= {"slim.file_to_answer_ratio_low": 0.5, "slim.file_to_answer_ratio_high": 1.2}
    assert headline(scores, "slim") == {"file_to_answer_ms": 6.0, "saving": 0.0}
