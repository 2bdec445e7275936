"""The place of the verdict in the report."""

from dataclasses import replace
from pathlib import Path

import pytest

from slimstream.core.paths import Paths
from slimstream.stages.evaluate.report import page
from slimstream.stages.evaluate.report.judged import judged
from slimstream.stages.evaluate.verdict import compare_with_original
from slimstream.stages.ingest.reserved_folders import stage_outputs
from tests.unit.stages.evaluate.report.fake_report import report
from tests.unit.stages.evaluate.test_verdict import JUDGED


@pytest.fixture(scope="module")
def html() -> str:
    return page.render(report(names=("original", "distilled"), search=False))


def test_the_page_says_that_it_waits_for_the_verdict_and_compares_already(html: str) -> None:
    assert "Not judged yet" in html and "slimstream publish" in html
    saves, costs = compare_with_original(report(names=("original", "distilled")).flat, "distilled")
    assert saves.replace(" %", "&nbsp;%") in html and costs.replace(" %", "&nbsp;%").split("'")[0] in html


def test_publish_puts_its_words_there_as_often_as_it_likes(html: str) -> None:
    refused = replace(JUDGED, champion=2, reasons=("macro-F1 < 0.6",), commit="abcdef0123456789")
    told = judged(html, refused)
    assert f"<h1>{refused.standing}.</h1>" in told and "macro-F1 &lt; 0.6" in told
    assert "Not in use" in told and "Not judged yet" not in told and "abcdef0123" in told
    again = judged(told, replace(JUDGED, run_id="1", run_url="http://m/#/runs/1"))
    assert (
        "is champion.</h1>" in again and "not champion" not in again and 'href="http://m/#/runs/1"' in again
    )
    assert judged(again, refused) == told, "nothing else of the page changes"


def test_what_publish_writes_is_no_output_of_a_stage() -> None:
    """Else DVC would run evaluate again after each publish."""
    root = Path(__file__).parents[5]
    paths, outs = Paths(root), stage_outputs(root)
    assert paths.report_page in outs
    for file in (paths.report, paths.run("publish")):
        assert not {file, *file.parents} & set(outs)


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        judged("<html></html>", JUDGED)
