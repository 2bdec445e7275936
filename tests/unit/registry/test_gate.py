"""The gate's cases, on small hand-made frames."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from slimstream.registry.artifacts import with_classes
from slimstream.registry.gate import (
    Candidate,
    TrainingData,
    decide_promotion,
    macro_f1,
    paired_interval,
    unseen_clips,
)
from slimstream.registry.params import GateParams

CLASSES = ["leak", "normal"]
FINE = Candidate(macro_f1=0.95, original_macro_f1=0.96, latency_p95_ms=20, megabytes=8)
POLICY = GateParams(
    margin=0.05, max_drop=0.05, min_clips=12, min_macro_f1=0.6, max_latency_ms=100, max_megabytes=10
)


def scored(clips: int = 40, groups: int = 4, **errors: float) -> pd.DataFrame:
    """`clips` clips spread over `groups`; each named model errs on its share of either class."""
    frame = pd.DataFrame({"label": [CLASSES[i % 2] for i in range(clips)]})
    frame["group"] = [f"camera {i * groups // clips}" for i in range(clips)]
    frame["twin"] = [f"clip {i}" for i in range(clips)]
    other = {"leak": "normal", "normal": "leak"}
    for who, share in errors.items():
        nth = frame.groupby("label").cumcount()
        wrong = np.floor((nth + 1) * share + 1e-9) > np.floor(nth * share + 1e-9)
        frame[who] = frame["label"].where(~wrong, frame["label"].map(other))
    return frame


def refusals(clips: pd.DataFrame, candidate: Candidate = FINE, policy: GateParams = POLICY) -> list[str]:
    decision = decide_promotion(clips, candidate, policy, CLASSES)
    assert decision.passed == all(check.passed for check in decision.checks)
    return [] if decision.passed else decision.reasons


def test_a_good_first_version_passes_and_says_on_what() -> None:
    decision = decide_promotion(scored(challenger=0.1), FINE, POLICY, CLASSES)
    assert decision.passed and len(decision.reasons) == 5
    assert decision.reasons[1].startswith("macro-F1 0.9") and "floor is 0.600" in decision.reasons[1]


def test_compression_that_saves_nothing_is_refused_where_a_saving_is_asked_for() -> None:
    clips, asks = scored(challenger=0.1), POLICY.model_copy(update={"min_saving": 0.4})
    idle = replace(FINE, time_ratio=0.97, bytes_ratio=1.07)
    assert refusals(clips, idle) == [], "0 switches it off"
    (reason,) = refusals(clips, idle, asks)
    assert reason == (
        "it takes 0.97 of the original's time from file to answer and 1.07 of the original's bytes; one "
        "of the two must be at most 0.60"
    )
    for saving in ({"time_ratio": 0.6}, {"bytes_ratio": 0.2}):
        assert refusals(clips, replace(idle, **saving), asks) == []
    noise = replace(idle, time_ratio=0.5, time_equal=True)  # its interval holds 1
    (reason,) = refusals(clips, noise, asks)
    assert "the original's time from file to answer (no difference is measurable) and 1.07 of" in reason
    (reason,) = refusals(clips, FINE, asks)
    assert "not measured" in reason


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        (
            {"time_ratio": 0.97},
            "it takes 0.97 of the original's time from file to answer, and its bytes were not measured; it "
            "must be at most 0.60",
        ),
        (
            {"bytes_ratio": 1.07},
            "it takes 1.07 of the original's bytes, and its time was not measured; it must be at most 0.60",
        ),
    ],
)
def test_a_saving_of_which_one_half_was_measured_is_told_without_the_other(
    ratios: dict[str, float], words: str
) -> None:
    clips, asks = scored(challenger=0.1), POLICY.model_copy(update={"min_saving": 0.4})
    assert refusals(clips, replace(FINE, **ratios), asks) == [words]
    good = dict.fromkeys(ratios, 0.5)
    assert refusals(clips, replace(FINE, **good), asks) == []


def test_a_first_version_below_the_floor_is_refused() -> None:
    (reason,) = refusals(scored(challenger=0.5))
    assert "macro-F1 0.500 of the first version; the floor is 0.600" in reason


def test_too_few_clips_are_refused_before_anything_is_compared() -> None:
    (reason,) = refusals(scored(clips=11, challenger=0.0, champion=0.5))
    assert reason.startswith("11 test clips") and "12 are needed" in reason
    # Then no answers are needed: nobody was asked.
    for count in (0, 3):
        few = scored(challenger=0.0).drop(columns="challenger").head(count)
        assert not decide_promotion(few, FINE, POLICY, CLASSES).passed


def test_compression_that_gains_is_not_told_as_a_negative_cost() -> None:
    better = replace(FINE, macro_f1=0.99)
    reasons = decide_promotion(scored(challenger=0.1), better, POLICY, CLASSES).reasons
    assert "compression costs no macro-F1 against its own original; 0.050 is allowed" in reasons


def test_a_better_and_an_equal_challenger_pass_without_the_floor() -> None:
    assert refusals(scored(challenger=0.0, champion=0.25)) == []
    assert refusals(scored(challenger=0.5, champion=0.5)) == []


def test_a_worse_challenger_is_refused() -> None:
    (reason,) = refusals(scored(challenger=0.25, champion=0.05))
    assert "champion" in reason and "-0.050" in reason


def test_better_on_the_whole_is_not_enough_when_one_camera_gets_worse() -> None:
    clips = scored(clips=48, groups=4, challenger=0.0, champion=0.25)
    lost = clips["group"] == "camera 0"
    clips.loc[lost, "challenger"] = "leak"
    clips.loc[lost, "champion"] = clips.loc[lost, "label"]
    assert macro_f1(clips["label"], clips["challenger"], CLASSES) > macro_f1(
        clips["label"], clips["champion"], CLASSES
    )
    low, high = paired_interval(clips, CLASSES)
    assert low < -POLICY.margin < high and len(refusals(clips)) == 1


def test_a_slow_slide_below_the_best_ever_is_refused() -> None:
    clips = scored(challenger=0.15, champion=0.15, best=0.05)
    (reason,) = refusals(clips)
    assert "best version ever promoted has 0.950" in reason
    recorded = decide_promotion(clips.drop(columns="best"), FINE, POLICY, CLASSES, recorded_best=0.95)
    assert recorded.reasons == [reason]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"macro_f1": 0.85}, "compression costs 0.110"),
        ({"latency_p95_ms": 101.0}, "p95 latency 101.0 ms; the limit is 100.0 ms"),
        ({"megabytes": 10.5}, "model file of 10.50 MB; the limit is 10.00 MB"),
    ],
)
def test_limits(change: dict[str, float], words: str) -> None:
    (reason,) = refusals(scored(challenger=0.0, champion=0.2), replace(FINE, **change))
    assert words in reason
    assert (
        refusals(scored(challenger=0.0), replace(FINE, macro_f1=0.91, latency_p95_ms=100, megabytes=10)) == []
    )


def test_every_reason_is_told_at_once() -> None:
    bad = Candidate(macro_f1=0.5, original_macro_f1=0.9, latency_p95_ms=500, megabytes=99)
    assert len(refusals(scored(challenger=0.6, champion=0.0, best=0.0), bad)) == 5


def test_a_missing_answer_is_a_wrong_one() -> None:
    clips = scored(challenger=0.0)
    clips.loc[clips.index[:20], "challenger"] = None
    assert macro_f1(clips["label"], clips["challenger"], CLASSES) == pytest.approx(2 / 3)


def test_one_group_is_resampled_by_twin_set() -> None:
    clips = scored(clips=40, groups=1, challenger=0.0, champion=0.3)
    clips["twin"] = [f"set {i // 4}" for i in range(40)]
    low, high = paired_interval(clips, CLASSES)
    assert 0 < low < 0.3 < high  # one cluster alone would give no width
    assert paired_interval(clips, CLASSES) == (low, high)  # seeded


def test_a_class_the_champion_never_knew_counts_against_it() -> None:
    clips = scored(challenger=0.0, champion=0.0)
    clips.loc[clips["label"] == "leak", "champion"] = "old name"
    assert macro_f1(clips["label"], clips["champion"], CLASSES) == 0.5


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_macro_f1_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = (pd.Series(list(side)) for side in zip(*pairs, strict=True))
    wanted = f1_score(truth, predicted, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert macro_f1(truth, predicted, list("abc")) == pytest.approx(wanted)


# Which clips may judge.

EVERYTHING = pd.DataFrame(
    [
        ("s1", "t1", "north", "day"),
        ("s2", "t1", "south", "day"),
        ("s3", "t3", "south", "night"),
        ("s4", "t4", "west", "night"),
        ("s5", "t5", "east", "night"),
    ],
    columns=["sha256", "twin", "camera", "shift"],
)


def fresh(*models: TrainingData) -> list[str]:
    test = EVERYTHING[EVERYTHING["sha256"] != "s1"]
    return list(test["sha256"][unseen_clips(test, EVERYTHING, models)])


def seen(rows: pd.DataFrame, *group_by: str) -> TrainingData:
    return TrainingData(rows, group_by)


def test_the_clip_itself_and_its_twins_are_seen() -> None:
    assert fresh() == ["s2", "s3", "s4", "s5"]
    assert fresh(seen(EVERYTHING[EVERYTHING["sha256"] == "s5"])) == ["s2", "s3", "s4"]
    assert fresh(seen(EVERYTHING[EVERYTHING["sha256"] == "s1"])) == ["s3", "s4", "s5"]


def test_a_group_mate_is_seen_under_the_columns_of_either_model() -> None:
    champion = seen(EVERYTHING[EVERYTHING["sha256"] == "s3"])
    assert fresh(champion) == ["s2", "s4", "s5"]
    challenger = seen(EVERYTHING[EVERYTHING["sha256"] == "s4"], "camera")
    assert fresh(champion, challenger) == ["s5"]
    assert fresh(seen(EVERYTHING[EVERYTHING["sha256"] == "s3"], "shift")) == ["s2"]


def test_a_group_of_several_columns_is_all_of_them() -> None:
    champion = seen(EVERYTHING[EVERYTHING["sha256"] == "s3"], "camera", "shift")
    assert fresh(champion) == ["s2", "s4", "s5"]  # the camera by day and others by night are other groups


def test_two_groups_that_agree_by_chance_prove_nothing() -> None:
    """Both are wrong as often on either camera, on other clips: groups alone would show no difference."""
    clips = scored(clips=40, groups=2, challenger=0.0, champion=0.0)
    for who, first in (("challenger", 0), ("champion", 4)):
        for start in (0, 20):
            wrong = clips.index[start + first : start + first + 4]
            clips.loc[wrong, who] = clips.loc[wrong, "label"].map({"leak": "normal", "normal": "leak"})
    low, high = paired_interval(clips, CLASSES)
    assert low < -0.1 and high > 0.1


def test_a_twin_set_renamed_since_is_recognised_by_content() -> None:
    old = pd.DataFrame([("s1", "other", "north")], columns=["sha256", "twin", "camera"])
    assert "s2" not in fresh(seen(old))


def test_a_clip_that_is_gone_still_marks_its_twins_and_group() -> None:
    gone = pd.DataFrame([("s0", "t4", "east")], columns=["sha256", "twin", "camera"])
    assert fresh(seen(gone, "camera")) == ["s2", "s3"]


def test_a_model_that_lacks_a_group_column_does_not_break() -> None:
    assert fresh(seen(EVERYTHING[["sha256", "twin"]].head(1), "camera")) == ["s3", "s4", "s5"]


def test_a_version_that_says_unknown_is_judged_by_its_most_probable_class() -> None:
    said = pd.DataFrame(
        {"label": ["ok", "unknown", None], "p_bad": [0.4, 0.8, None], "p_ok": [0.6, 0.2, None]}, dtype=object
    ).astype({"p_bad": float, "p_ok": float})
    assert with_classes(said)["label"].tolist() == ["ok", "bad", None]
