import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from slimstream.stages.evaluate.report import page
from slimstream.stages.evaluate.report.notes import notes
from slimstream.stages.evaluate.report.types import ClipPrediction
from tests.unit.stages.evaluate.report.fake_report import report

PAIR = ("original", "distilled")
EVIL = "<script>alert(1)</script>"


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def html() -> str:
    return page.render(report())


def test_the_page_loads_nothing(html: str) -> None:
    tags = Tags(html).seen
    assert not {"link", "iframe", "object", "base", "form"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        for name, value in attributes.items():
            if name in {"src", "href", "srcset", "poster", "data", "xlink:href", "action"}:
                links = ("#", "../reports/validation/") if tag == "a" else ("data:image/", "#")
                assert value and value.startswith(links), (tag, name, value[:80])
            assert not (name.startswith("on")), (tag, name)
    assert not re.search(r"url\((?!['\"]?#)", html) and "@import" not in html
    assert "default-src 'none'" in html
    assert len(html) < 5_000_000


def test_its_own_script_is_the_only_one_a_browser_runs(html: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [a["content"] for _, a in Tags(html).seen if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy and f"script-src 'sha256-{allowed}'" in policy.split("; ")
    assert html.count("<script") == 1 and "innerHTML" not in script and "fetch" not in script


def test_every_picture_can_be_heard(html: str) -> None:
    tags = Tags(html).seen
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    charts = [attributes for tag, attributes in tags if tag == "svg"]
    assert charts and all(c.get("role") in ("img", "group") and c.get("aria-label") for c in charts)
    points = [a for tag, a in tags if tag == "g" and (a.get("class") or "").startswith("point")]
    (strip,) = [a for tag, a in tags if tag == "button"]
    assert strip.get("aria-label") == "Enlarge the frames of clip clip-2"
    assert len(points) == 12 + 5 + 5 and all(a.get("role") == "img" and a.get("aria-label") for a in points)


def test_names_of_the_user_are_escaped() -> None:
    made = report(classes=(EVIL, "a & b", "c_d"), names=PAIR)
    clip = dataclasses.replace(made.wrong[0], id=EVIL, label=EVIL)
    split = {**made.split, "groups": {"test": [EVIL]}, "counts": {"test": {EVIL: 1}}}
    html = page.render(
        dataclasses.replace(made, recipe=EVIL, absent=[EVIL], wrong=[clip], explained=[clip], split=split)
    )
    assert "<script>alert" not in html and "&lt;script&gt;" in html
    assert "a &amp; b" in html and "c_<wbr>d" in html


def test_simulated_data_is_named_wherever_numbers_are(html: str) -> None:
    assert html.count("imulated") >= 5
    assert "imulated" not in page.render(report(simulated="", names=PAIR))


def test_few_groups_are_said_to_be_few() -> None:
    few, many = (report(groups=n, names=PAIR) for n in (3, 9))
    assert any("3 groups only" in note for note in notes(few))
    assert "conditional on these 3 test groups" in page.render(few)
    assert not any("groups only" in note for note in notes(many))
    assert "conditional on" not in page.render(many)


def test_no_errors_do_not_make_certainty() -> None:
    assert any("rule of three" in note and "4 %" in note for note in notes(report(right=1.0)))
    assert not any("rule of three" in note for note in notes(report()))


def test_flagged_shortcuts_are_told_at_the_top() -> None:
    assert any("border of the first frame" in n and "file size" not in n for n in notes(report()))


def test_the_first_screen_tells_how_good_where_not_how_fast_and_how_small(html: str) -> None:
    tiles = re.findall(r'<span class="what">(.*?)</span><b>(.*?)</b>\s*<span>(.*?)</span>', html, re.S)
    good, errs, fast, small = tiles
    scores = next(m.scores for m in report().models if m.name == "distilled")
    assert good[:2] == ("How good", f"{scores['macro_f1']:.3f}") and "95 % interval" in good[2]
    assert errs[:2] == ("Where it errs most", "leak") and "by group g2: 18 of 24 right" in errs[2]
    assert fast == ("How fast", "373 ms", "from file to answer, one core; original 493 ms")
    assert small == ("How small", "8.4 MB", "files to deploy; original 24 MB")


def test_small_groups_and_a_single_one_are_not_blamed() -> None:
    model = report().models[0]
    few = {"group": "few", "clips": 4, "right": 0}
    many = [{"group": name, "clips": 20, "right": right} for name, right in (("a", 9), ("b", 12))]
    assert dataclasses.replace(model, per_group=[few, *many]).weakest_group == many[0]
    assert dataclasses.replace(model, per_group=[few, many[0]]).weakest_group is None


def test_an_original_of_frozen_features_says_so() -> None:
    original = next(m for m in report().models if m.name == "original")
    assert original.explanation == "not compressed"
    # A head that was fitted in closed form has no epochs.
    frozen = dataclasses.replace(original, curve=None)
    assert frozen.explanation == "not compressed; frozen features, too: only its last layer learnt"


def test_a_split_that_flatters_is_said() -> None:
    made = report(names=("baseline",))
    given = {**made.split, "without": ["camera"], "given": "set", "leaks": {"val": [], "test": ["a", "b"]}}
    html = page.render(dataclasses.replace(made, split=given))
    assert "The clips are not split by camera: groups are near-twin sets" in html
    assert "2 test clips have a near twin" in html and "(column set)" in html
    assert "left as the given split has them" in html and "kept within one part" in page.render(made)


def test_networks_for_pictures_are_shown_layer_by_layer() -> None:
    made = report(names=PAIR)
    picture = made.explained[0].frames[0]
    verdicts = [
        ClipPrediction(title, made.classes[0], 0.9, layers=[(number, picture) for number in (1, 5, 10)])
        for title in ("Before", "After")
    ]
    clip = dataclasses.replace(made.explained[0], verdicts=verdicts, flow="")
    html = page.render(dataclasses.replace(made, explained=[clip]))
    shown = [a["alt"] for tag, a in Tags(html).seen if tag == "img" and "convolution" in (a["alt"] or "")]
    assert shown == [f"Where convolution {n} of {t} looks" for t in ("Before", "After") for n in (1, 5, 10)]
    assert "convolution by convolution" in html and "white is rest" not in html


def test_one_model_alone_makes_a_page_too() -> None:
    made = report(names=("baseline",))
    bare = dataclasses.replace(made, validation=None, explained=(), wrong=(), wrong_in_all=0)
    html = page.render(bare)
    assert "Nothing to publish" in html and "no compressed model" in html
    assert "Misclassified clips" in html and "What the networks look at" not in html


def test_the_page_follows_the_readers_colours_and_prints(html: str, tmp_path: Path) -> None:
    assert "prefers-color-scheme: dark" in html and "@media print" in html
    # No stand-in colour of the charts is left, and what they stand for is defined.
    assert not re.search(r"#0000[01]\d", html)
    assert all(f"--{name}:" in html for name in ("original", "pruned", "distilled", "muted", "line"))


def test_the_page_opens_with_the_front_and_keeps_the_two_kinds_of_scores_apart(html: str) -> None:
    assert html.index("Accuracy against time") < html.index("Before you rely on it")
    left, right = (html.index(f"<h3>{title}") for title in ("Candidates of the search", "Trained models"))
    assert (
        left < html.index("macro-F1 on clips not learnt from") < right < html.index("macro-F1 on test clips")
    )
    assert "cannot be compared with those of the search" in html
    assert "The choice: it is the cheapest." in html
    bare = page.render(report(names=PAIR, search=False))
    assert "Candidates of the search" not in bare and "cannot be compared" not in bare
    assert "Trained models" in bare and "How far it can be pruned" not in bare


def test_costs_are_told_as_shares_of_the_original(html: str) -> None:
    row = html[html.index('<tr class="chosen" style="--c:var(--distilled)">') :]
    cells = re.findall(r"<td>([\d.]+ ×)<small>([\d.]+ m?M?[sB])</small>", row[: row.index("</tr>")])
    assert cells == [("0.76 ×", "373 ms"), ("0.34 ×", "63 ms"), ("0.34 ×", "8.4 MB")]
