"""The words of the verdict."""

from dataclasses import replace

import pytest

from slimstream.stages.evaluate.verdict import Verdict, compare_with_original

FLAT = {
    "slim.macro_f1": 0.742,
    "slim.macro_f1_low": 0.66,
    "slim.macro_f1_high": 0.81,
    "slim.delta_macro_f1_low": -0.151,
    "slim.delta_macro_f1_high": 0.004,
    "slim.file_to_answer_p50_ms": 31.0,
    "slim.megabytes": 0.9,
    "original.macro_f1": 0.83,
    "original.file_to_answer_p50_ms": 124.0,
    "original.megabytes": 24.4,
}
JUDGED = Verdict(
    name="tank",
    version=3,
    model="slim",
    champion=3,
    changed=True,
    reasons=("good", "small"),
    comparison=("It takes 1 MB.",),
    date="2026-11-29T15:00:00+00:00",
)


def test_it_tells_which_version_whether_it_is_champion_and_why() -> None:
    assert JUDGED.sentences == ["tank version 3 (slim) is champion: good; small.", "It takes 1 MB."]
    refused = replace(JUDGED, champion=2, changed=False, reasons=("it is slow",))
    assert str(refused).startswith(
        "tank version 3 (slim) is registered, but not champion (version 2 stays): it is slow.\n"
    )
    assert "(there is none yet)" in replace(refused, champion=None).standing
    content = refused.to_json()
    assert content["sentences"] == refused.sentences and content["promoted"] is False


def test_what_it_saves_and_what_it_costs_are_told_with_intervals() -> None:
    assert compare_with_original(FLAT, "slim") == [
        "It takes 31 ms from file to answer instead of 124 ms (75 % less) and 0.90 MB instead of 24 MB "
        "(96 % less).",
        "Its macro-F1 is 0.742 (95 % interval 0.66 to 0.81), 0.088 below the original's 0.830 (95 % interval "
        "of the difference: 0.151 below to 0.004 above).",
    ]


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({"macro_f1": 0.89}, "0.060 above the original's 0.830"),
        ({"macro_f1": 0.83, "delta_macro_f1_high": -0.0002}, "equal to the original's 0.830"),
        ({"delta_macro_f1_high": -0.0002}, "0.151 below to equal"),
        ({"delta_macro_f1_low": 0.0, "delta_macro_f1_high": 0.0}, "difference: equal at both ends)"),
        ({"file_to_answer_p50_ms": 124.1}, "124 ms from file to answer (as the original)"),
        ({"file_to_answer_p50_ms": 140.0}, "140 ms from file to answer instead of 124 ms (13 % more)"),
        (
            {
                "file_to_answer_p50_ms": 119.0,
                "file_to_answer_ratio_low": 0.9,
                "file_to_answer_ratio_high": 1.1,
            },
            "119 ms from file to answer (no measurable difference to the original's 124 ms)",
        ),
    ],
)
def test_no_negative_costs_and_no_differences_that_are_noise(scores: dict[str, float], words: str) -> None:
    told = " ".join(compare_with_original(FLAT | {f"slim.{k}": v for k, v in scores.items()}, "slim"))
    assert words in told and "-0" not in told and "0.000" not in told


def test_what_was_not_measured_is_left_out() -> None:
    bare = {"slim.macro_f1": 0.7, "original.macro_f1": 0.8}
    assert compare_with_original(bare, "slim") == ["Its macro-F1 is 0.700, 0.100 below the original's 0.800."]
    assert compare_with_original({"slim.macro_f1": 0.7}, "slim") == []
    assert compare_with_original(FLAT, "original") == compare_with_original(FLAT, "pruned") == []
