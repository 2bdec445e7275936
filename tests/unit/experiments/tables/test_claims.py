"""Verdicts on claims, on cells made by hand."""

from collections.abc import Sequence
from typing import Any

import pytest

from slimstream.experiments.tables.claims import Judged, judge, judge_twice
from slimstream.experiments.tables.results import Seeds
from slimstream.experiments.tables.spec import Claim, Table
from tests.unit.experiments.tables.cells_by_hand import cells, replicates

UNLEARNT = [[1, 2], [0, 1]]
"""Three of four clips are of one class."""


def claimed(
    new: Seeds, old: Seeds, overlap: float = 0.0, independent: bool = True, **threshold: float | None
) -> Judged:
    """The verdict on the claim that `new` minus `old` is above or below; the paper has 90.0 and 89.0."""
    printed = {"new": 90.0, "old": 89.0}
    rows = [{"name": name, "paper": {"accuracy": score}} for name, score in printed.items()]
    table = Table.model_validate({"title": "", "rows": rows})
    claim = Claim(says="x", table="t", of="new", against=["old"], **threshold)  # type: ignore[arg-type]
    return judge(claim, table, {"new": new, "old": old}, lambda *_: {}, overlap, independent=independent)


def ordered(**rows: tuple[float, Seeds]) -> Judged:
    """The verdict on the order of rows, given the paper's accuracies and ours."""
    listed = [{"name": name, "paper": {"accuracy": printed}} for name, (printed, _) in rows.items()]
    table = Table.model_validate({"title": "", "rows": listed})
    done = {name: seeds for name, (_, seeds) in rows.items()}
    return judge(Claim(says="x", table="t", ordered=True), table, done, lambda *_: {})


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ([0.95, 0.96, 0.95, 0.96], "borne out"),
        ([0.70, 0.71, 0.70, 0.71], "contradicted"),
        ([0.60, 0.99, 0.95, 0.80], "not decided"),
    ],
)
def test_claims_are_decided_by_the_interval(new: list[float], said: str) -> None:
    old = cells([0.90, 0.90, 0.90, 0.90])
    assert claimed(cells(new), old, above=-0.02).verdict == said


def test_below_is_the_mirror_of_above() -> None:
    old = replicates(0.8, 0.8, 0.8)
    assert claimed(replicates(0.801, 0.802, 0.801), old, below=0.01).verdict == "borne out"
    assert claimed(replicates(0.9, 0.91, 0.9), old, below=0.01).verdict == "contradicted"


def test_the_first_replicates_judge_together_or_not_at_all() -> None:
    """Whoever looks after each one and stops when it pleases finds what is not there."""
    table = Table.model_validate({"title": "", "rows": [{"name": "new"}, {"name": "old"}]})
    claim = Claim(says="x", table="t", of="new", against=["old"], above=0.0)
    done = {"new": replicates(0.9, 0.91, 0.9), "old": replicates(0.8, 0.8, 0.8)}
    three, ten = (judge(claim, table, done, lambda *_: {}, first=first) for first in (3, 10))
    assert three.verdict == "borne out" and ten.verdict == "not decided"
    assert ten.status("replicate") == "not decided yet: 3 of the 10 replicates that judge" and not ten.waits


def test_an_effect_can_be_smaller_than_the_papers_without_being_none() -> None:
    """The paper has one point: an interval from -0.4 to 0.5 holds 0 and not that."""
    old = replicates(0.9, 0.9, 0.9, 0.9, 0.9)
    found = claimed(replicates(0.9, 0.905, 0.897, 0.903, 0.898), old, above=0.0)
    assert found.verdict == "not decided" and found.pairs[0].ours.high < 0.01
    said = "not decided by 5 replicates, but an effect as large as the paper's is ruled out"
    assert found.status("replicate") == said
    wide = claimed(replicates(0.9, 0.95, 0.87, 0.93, 0.88), old, above=0.0)
    assert "ruled out" not in wide.status("replicate")


def test_one_replicate_decides_nothing() -> None:
    found = claimed(replicates(0.9), replicates(0.4), above=0.0)
    assert found.verdict == "not decided" and found.ours == "+50.0"


def test_networks_that_have_learnt_nothing_test_no_claim() -> None:
    """Both are below the 0.75 of whoever always names the commonest class, though they differ clearly."""
    low, lower = (replicates(x, x + 0.01, x, confusion=UNLEARNT) for x in (0.7, 0.4))
    assert claimed(low, lower, above=0.0).verdict == "not testable"
    learnt = replicates(0.9, 0.91, 0.9, confusion=UNLEARNT)
    assert claimed(learnt, lower, above=0.0).verdict == "borne out", "that one has not learnt is a difference"


def test_a_score_that_is_claimed_outright_is_wrong_where_nothing_was_learnt() -> None:
    table = Table.model_validate({"title": "", "rows": [{"name": "new"}]})
    claim = Claim(says="x", table="t", of="new", above=0.97)
    low = replicates(0.70, 0.71, 0.70, 0.71, 0.70, confusion=UNLEARNT)
    assert judge(claim, table, {"new": low}, lambda *_: {}).verdict == "contradicted"


def test_one_pair_of_many_contradicts_an_order_only_by_a_wider_interval() -> None:
    """Its t is 5.2: beyond 4.3, the bound of one pair, and below 7.6, that of one of three."""
    a, b = replicates(0.80, 0.80, 0.80), replicates(0.81, 0.82, 0.83)
    alone, of_three = ordered(a=(90.0, a), b=(80.0, b)), ordered(a=(90.0, a), b=(80.0, b), c=(70.0, b))
    assert alone.verdict == "not decided" and of_three.verdict == "not decided"
    b = replicates(0.81, 0.818, 0.822)
    alone = ordered(a=(90.0, a), b=(80.0, b))
    assert alone.verdict == "contradicted" and alone.ours.endswith("against the paper: b > a")
    of_three = ordered(a=(90.0, a), b=(80.0, b), c=(70.0, replicates(0.5, 0.5, 0.5)))
    assert of_three.verdict == "not decided" and "against the paper" not in of_three.ours


def test_rows_without_a_common_replicate_are_not_compared() -> None:
    found = claimed(replicates(0.9, 0.8)[:1], replicates(0.9, 0.8)[1:], above=0.0)
    assert found.verdict == "not run" and found.ours == "not run: new and old on the same clips"


def test_only_rows_that_differ_beyond_their_intervals_make_an_order() -> None:
    high, middle = replicates(0.9, 0.91, 0.9), replicates(0.8, 0.81, 0.8)
    close = replicates(0.81, 0.80, 0.80)
    assert ordered(a=(90.0, high), b=(80.0, middle)).verdict == "borne out"
    said = ordered(a=(90.0, high), b=(80.0, middle), c=(70.0, close))
    assert said.verdict == "not decided" and said.ours == "2 of 3 pairs differ beyond their intervals"
    said = ordered(a=(80.0, high), b=(90.0, middle), c=(70.0, close))
    assert said.verdict == "contradicted" and said.ours.endswith("against the paper: a > b")
    assert said.reported == "b > a > c"


def test_rows_that_the_paper_ranks_alike_may_come_in_any_order() -> None:
    high, low = replicates(0.9, 0.91, 0.9), replicates(0.8, 0.81, 0.8)
    found = ordered(a=(90.0, high), b=(90.0, low), c=(70.0, replicates(0.6, 0.61)))
    assert len(found.pairs) == 2 and found.reported == "a = b > c"


def counted(names: Sequence[str], metric: str) -> dict[str, float]:
    known = {"student": 40.0, "small": 60.0, "large": 140.0}
    return {name: known[name] for name in names if name in known}


@pytest.mark.parametrize(
    ("against", "more", "said", "ours"),
    [
        (["small", "large"], {"below": 0.5}, "contradicted", "-33.3 % and -71.4 %"),
        (["small", "large"], {"below": 0.5, "mean": True}, "borne out", "-60.0 %"),
        (["unknown"], {"below": 0.5}, "not run", "not run: unknown"),
    ],
)
def test_counts_need_no_clips(against: list[str], more: dict[str, Any], said: str, ours: str) -> None:
    names = ["student", "small", "large", "unknown"]
    table = Table.model_validate({"title": "", "rows": [{"name": name} for name in names]})
    claim = Claim(says="x", table="t", of="student", against=against, metric="params", **more)
    found = judge(claim, table, {}, counted)
    assert (found.verdict, found.ours) == (said, ours)


def test_what_is_not_decided_says_how_many_replicates_it_needs() -> None:
    """The paper's effect is a point; the spread of the differences is two."""
    old = replicates(0.8, 0.8, 0.8, 0.8)
    found = claimed(replicates(0.82, 0.8, 0.82, 0.78), old, above=0.0)
    assert found.pairs[0].ours.spread == pytest.approx(0.0191, abs=1e-4) and found.needed == 31
    said = "not decided by 4 replicates; given up: the paper's effect needs about 31"
    assert found.status("replicate") == said
    split = claimed(replicates(0.82, 0.8, 0.82, 0.78), old, overlap=3 / 7, independent=False, above=0.0)
    assert split.status("split") == "not decided by 4 splits", "more of them would not help"


def test_a_claim_is_judged_by_the_first_replicates_and_by_those_it_needs() -> None:
    old = replicates(*[0.8] * 40)
    values = [0.82, 0.8, 0.82, 0.78] + [0.9, 0.91] * 18

    def judged_by(values: list[float], most: int = 40) -> Judged:
        return judge_twice(lambda n: claimed(replicates(*values[:n]), old, above=0.0), first=4, most=most)

    assert judged_by(values[:4]).waits and not judged_by(values[:4], most=20).waits
    # It is not judged in between: what looks decided after the tenth goes on until it has what it needs.
    later = judged_by(values[:10])
    assert (later.verdict, later.units, later.waits) == ("not decided", 10, True)
    assert later.status("replicate") == "not decided yet: 10 of the 31 replicates that judge"
    enough = judged_by(values)
    assert (enough.verdict, enough.units, enough.waits) == ("borne out", 31, False), "not by all 40"
    # What the first have decided stays: others may need more replicates of the same rows.
    clear = judged_by([0.9, 0.91, 0.9, 0.91, 0.5, 0.5])
    assert (clear.verdict, clear.units) == ("borne out", 4)


def test_a_claim_that_wants_a_narrow_interval_goes_on_until_it_has_one() -> None:
    """The first four rule the paper's point out: that is enough, unless half a point is wanted."""
    values = [0.805, 0.797, 0.803, 0.795]

    def judged_by(values: list[float], half_width: float | None, most: int = 40) -> Judged:
        old = replicates(*[0.8] * len(values))
        return judge_twice(
            lambda n: claimed(replicates(*values[:n]), old[:n], above=0.0, half_width=half_width), 4, most
        )

    assert not judged_by(values, None).waits and not judged_by(values, 0.02).waits
    narrow = judged_by(values, 0.005)
    assert narrow.waits and narrow.first == 6
    assert narrow.status("replicate") == "not decided yet: 4 of the 6 replicates that judge"
    given_up = judged_by(values, 0.001)
    assert not given_up.waits and "as large as the paper's is ruled out" in given_up.status("replicate")
    wide = judged_by([0.85, 0.77, 0.83, 0.79], 0.005)
    said = f"not decided by 4 replicates; given up: ± 0.5 points need about {wide.needed}"
    assert wide.status("replicate") == said and (wide.needed or 0) > 40


def test_a_claim_on_defects_is_not_run_on_clips_without_that_class() -> None:
    rows = [{"name": "new"}, {"name": "old"}]
    table = Table.model_validate({"title": "", "rows": rows})
    claim = Claim(says="x", table="t", of="new", against=["old"], metric="defect_recall", above=0.0)
    done = {"new": replicates(0.9, 0.8), "old": replicates(0.8, 0.7)}
    assert judge(claim, table, done, lambda *_: {}).verdict == "not run"
