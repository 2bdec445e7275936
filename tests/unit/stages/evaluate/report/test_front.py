"""Charts of score against cost: what their points say, and where labels stand."""

import re
from dataclasses import replace

import pytest

from slimstream.stages.evaluate.report import front
from slimstream.stages.evaluate.report.trade_off import CORNERS, Point, trade_off
from tests.unit.stages.evaluate.report.fake_report import candidates, rates


def chart(points: list[Point]) -> str:
    return trade_off("c", points, inches=(4, 3), x_label="ms", y_label="score", alt="a chart")


def labels(svg: str) -> list[str]:
    return re.findall(r">([^<>]+)</text>", svg)


@pytest.fixture(scope="module")
def searched() -> str:
    return front.search_front(candidates(), 0.02)[0]


def test_every_candidate_is_a_point_that_tells_what_it_is(searched: str) -> None:
    told = re.findall(r'class="point (\w+)".*?data-told="(.*?)"', searched, re.S)
    assert len(told) == 12
    (chosen,) = [text.split("\n") for rank, text in told if rank == "chosen"]
    assert chosen[0] == "8 RGB frames of 96 × 96 pixels, lite0 to stage 7, averaged over 2 × 2 cells"
    assert chosen[1] == "chosen, on the front" and chosen[2] == "macro-F1 0.878"
    assert chosen[3] == "0.022 below the best (90 % interval +0.012 to +0.037)"
    assert chosen[4] == "49.0 ± 12.4 ms from file to answer: decoding 40.0, flow 0.0, network 9.0"
    assert chosen[5] == "13.4 MB"


def test_a_label_names_what_tells_candidates_apart() -> None:
    rows = candidates()
    assert front._short(rows[4], rows) == "rgb 8 × 128 px"
    assert front._short(rows[4], [rows[4], {**rows[4], "frames": 1, "depth": 5}]) == "8 frames\ndepth 7"
    wide = {**rows[4], "size": "96x128", "frames": "all"}
    assert front._short(wide, [wide, rows[4]]) == "all × 128×96 px"


def test_models_without_times_make_no_chart_and_one_rate_without_latency_does() -> None:
    assert front.models_front([], None) is None
    # Results of an earlier version have no latency.
    old = [{key: value for key, value in row.items() if key != "latency_p50_ms"} for row in rates()]
    drawn, chosen = front.rates_front(old, "slim")
    assert "multiply-accumulates, 10⁹" in drawn and chosen.told[:2] == ["rate 0.4", "chosen"]
    assert "time of the network, ms" in front.rates_front(rates(), "slim")[0]
    assert front.rates_front([{**row, "latency_p50_ms": float("nan")} for row in rates()], "slim")[0] == drawn


def test_labels_of_neighbours_do_not_overlap_and_the_chosen_one_keeps_its() -> None:
    crowd = [Point(10 + i / 1000, 0.5, 0.5, 0.5, ["t"], label=f"label{i}") for i in range(15)]
    crowd.append(Point(10, 0.5, 0.5, 0.5, ["t"], label="mine", rank="chosen"))
    shown = [label for label in labels(chart(crowd)) if label == "mine" or label.startswith("label")]
    assert "mine" in shown and 1 < len(shown) <= len(CORNERS)
    apart = [Point(10 * i + 10, 0.5 + i / 10, 0.5, 0.6, ["t"], label=f"label{i}") for i in range(3)]
    assert [label for label in labels(chart(apart)) if label.startswith("label")] == [
        f"label{i}" for i in range(3)
    ]


def test_no_label_stands_at_the_point_of_another() -> None:
    """The other one is nearer than a label is long, so there is no room to the right."""
    two = [Point(10, 0.5, 0.5, 0.5, ["t"], label="left"), Point(10.5, 0.5, 0.5, 0.5, ["t"], label="right")]
    drawn = chart(two)
    (at,) = re.findall(r'text-anchor: (\w+)[^>]*x="([\d.]+)"[^>]*>left<', drawn)
    marks = [float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)"[^>]*fill-opacity', drawn)]
    assert at[0] == "end" and float(at[1]) < min(marks), "it is written to the left of both"


def test_the_chosen_one_keeps_its_label_where_lines_leave_no_place_for_it() -> None:
    """Three points of long intervals stand at one place, a fourth right beside: every corner is crossed."""
    names = ["Original", "Control", "Distilled"]
    points = [Point(118, 0.17, 0, 0.4, ["t"], label=name, rank="marked") for name in names]
    points[2] = replace(points[2], rank="chosen")
    points.append(Point(110, 0.17, 0, 0.4, ["t"], label="Pruned", rank="marked"))
    assert "Distilled" in labels(chart(points))


@pytest.mark.parametrize(("far", "ticks"), [(90, {"10", "20", "50"}), (40, {"0", "10", "40"})])
def test_the_axis_of_costs_is_logarithmic_where_costs_differ_much(far: int, ticks: set[str]) -> None:
    two = [Point(x, 0.5, 0.4, 0.6, ["t"]) for x in (10, far)]
    assert ticks <= set(labels(chart(two)))


def test_what_is_told_is_escaped() -> None:
    drawn = chart([Point(1, 0.5, 0.4, 0.6, ['"<b>', "&"])])
    assert "&quot;&lt;b&gt;; &amp;" in drawn and "<b>" not in drawn


def test_a_network_without_depth_and_one_that_was_left_behind_are_points_too() -> None:
    unknown = dict.fromkeys(("depth", "grid", "backbone"))
    rows = [{**row, **unknown} for row in candidates()]
    rows[0] |= dict.fromkeys(("loss", "low", "high")) | {"macro_f1": 0.99, "on_front": False}
    drawn, chosen = front.search_front(rows, 0.02)
    assert chosen.told[0] == "8 RGB frames of 96 × 96 pixels"
    assert "left behind, judged after fewer epochs; macro-F1 0.990" in drawn
