import pytest

from slimstream.stages.evaluate.model_rows import model_rows, text_table

FLAT = {
    "slim.macro_f1": 0.9,
    "slim.file_to_answer_p50_ms": 31.0,
    "slim.latency_p50_ms": 2.44,
    "slim.megabytes": 0.5,
    "original.macro_f1": 0.91,
    "original.file_to_answer_p50_ms": 124.0,
    "original.latency_p50_ms": 24.4,
    "slim.delta_macro_f1": -0.01,
    "test.clips": 12.0,
}


def test_costs_are_shares_of_the_originals() -> None:
    original, slim = model_rows(FLAT)
    assert (original.name, slim.name) == ("original", "slim")
    assert [cost.ratio for cost in original.costs] == [None] * 3
    assert [cost.ratio for cost in slim.costs] == [0.25, pytest.approx(0.1), None]
    assert slim.scores["delta_macro_f1"] == -0.01 and "test.clips" not in slim.scores


def test_text_shows_ratio_and_value_and_a_dash_for_what_was_not_measured() -> None:
    original, slim = text_table(FLAT)
    assert slim["file to answer"] == "0.25 × (31 ms)"
    assert slim["network"] == "0.10 × (2.4 ms)"
    assert slim["size"] == "0.50 MB" and original["size"] == "–"
    assert original["file to answer"] == "124 ms" and original["accuracy"] == "–"
    alone = {key: value for key, value in FLAT.items() if key.startswith("slim")}
    assert text_table(alone)[0]["file to answer"] == "31 ms"


@pytest.mark.parametrize(
    ("ms", "low", "high", "told"),
    [
        (31.0, 0.2, 0.3, "0.25 × (31 ms)"),
        (119.0, 0.9, 1.1, "equal (119 ms)"),
        (119.0, 0.94, 0.97, "0.96 × (119 ms)"),
        (124.2, 1.001, 1.003, "equal (124 ms)"),
    ],
)
def test_a_ratio_that_is_noise_is_told_as_equal(ms: float, low: float, high: float, told: str) -> None:
    ratio = {"slim.file_to_answer_ratio_low": low, "slim.file_to_answer_ratio_high": high}
    _, slim = text_table({**FLAT, "slim.file_to_answer_p50_ms": ms, **ratio})
    assert slim["file to answer"] == told
