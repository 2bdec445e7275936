"""What a manifest must satisfy, as Great Expectations, with its Data Docs kept as a report."""

import html
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from slimstream.catalog.manifest import COLUMNS
from slimstream.clips.packs import plan
from slimstream.clips.params import ExtractParams
from slimstream.stages.validate.survey import Survey

LEAST, MOST = 16, 16384
"""Pixels that either side of a picture must have, and may have."""

STYLE = """<style>
body { font: 15px system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { border-bottom: 1px solid #ccc; padding: .3rem .8rem; text-align: left; vertical-align: top; }
footer, .sticky, .ge-walkthrough-modal, #ge-cta-footer, .cooltip .top { display: none; }
.fa-check-circle::before { content: "✓"; color: #080; } .fa-times::before { content: "✗"; color: #c00; }
.badge { padding: 0 .3rem; background: #eee; }
</style>"""


def outside(path: str) -> bool:
    """Whether `path` is no plain relative path: absolute, empty, or with `..` in it."""
    parts = PurePosixPath(path.replace("\\", "/"))
    return not parts.parts or parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]


def defect(seen: Survey, p: ExtractParams) -> str:
    """Why a clip that could be decoded is of no use to a model that sees it as `p` says; "" when it is."""
    height, width = seen.size
    if len(seen.timeline.times) < 2 and not seen.still:
        return "only one frame can be decoded"
    if seen.defect:
        return seen.defect
    if not seen.constant:
        return "the pictures change their size"
    if min(seen.size) < LEAST or max(seen.size) > MOST:
        return f"{width} × {height} pixels: each side must have {LEAST} to {MOST}"
    try:
        plan(seen.timeline, 0, p)
    except ValueError as error:
        return str(error)
    return ""


def expect(manifest: pd.DataFrame, clips: pd.DataFrame, classes: Sequence[str], site: Path) -> list[str]:
    """Hold the manifest and the clips accepted of it against our expectations; write Data Docs to `site`.

    Returns what is not met, in words; empty when all is well. `site/index.html` needs no network.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for name in context.get_site_names():
        context.delete_data_docs_site(name)
    shutil.rmtree(site, ignore_errors=True)
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site.resolve())}
    context.add_data_docs_site("slimstream", {"class_name": "SiteBuilder", "store_backend": store})
    source = context.data_sources.add_pandas("slimstream")

    failed = []
    for name, table, wanted in (
        ("manifest", manifest, _of_manifest(gx.expectations)),
        ("clips", clips, _of_clips(gx.expectations, classes, bool((clips["fps"] == 0).all()))),
    ):
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=wanted))
        validation = context.validation_definitions.add(
            gx.ValidationDefinition(name=name, data=batch, suite=suite)
        )
        outcome = validation.run(batch_parameters={"dataframe": table.astype(object)})
        failed += [f"{name}: {_words(result)}" for result in outcome.results if not result.success]
    context.build_data_docs()
    _offline(site)
    return failed


def _of_manifest(e: Any) -> list[Any]:
    return [
        *(e.ExpectColumnToExist(column=column) for column in COLUMNS),
        *(e.ExpectColumnValuesToBeUnique(column=column) for column in ("id", "key")),
        e.ExpectColumnValuesToNotBeNull(column="problem"),
        e.ExpectColumnValuesToBeInSet(column="held_out", value_set=[True, False]),
    ]


def _of_clips(e: Any, classes: Sequence[str], pictures: bool) -> list[Any]:
    ranges: dict[str, tuple[float, float | None]] = {
        "bytes": (1, None),
        "frames": (2, None),
        "fps": (0, None),
        "width": (LEAST, MOST),
        "height": (LEAST, MOST),
        "seconds": (0, None),
    }
    if pictures:
        ranges |= {"frames": (1, 1), "fps": (0, 0), "seconds": (0, 0)}
    return [
        e.ExpectTableRowCountToBeBetween(min_value=1),
        e.ExpectColumnValuesToMatchRegex(column="id", regex=r"^[A-Za-z0-9._-]+$"),
        e.ExpectColumnValuesToBeInSet(column="label", value_set=list(classes)),
        e.ExpectColumnValuesToMatchRegex(column="sha256", regex=r"^[0-9a-f]{64}$"),
        e.ExpectColumnValuesToBeInSet(column="problem", value_set=[""]),
        *(e.ExpectColumnValuesToBeUnique(column=column) for column in ("id", "key", "path", "sha256")),
        *(e.ExpectColumnValuesToNotBeNull(column=column) for column in ("label", "twin", *ranges)),
        *(
            e.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)
            for column, (low, high) in ranges.items()
        ),
    ]


def _words(result: Any) -> str:
    config = result.expectation_config
    what = config.type.removeprefix("expect_").replace("_", " ")
    seen = (
        result.result.get("partial_unexpected_list") or result.exception_info.get("exception_message") or ""
    )
    return f"{config.kwargs.get('column', 'table')}: {what}" + (f", found {str(seen)[:80]}" if seen else "")


def _offline(site: Path) -> None:
    """Make the pages readable without a network: no remote style, script or picture, and a plain index."""
    shutil.rmtree(site / "static", ignore_errors=True)  # 4 MB of pictures for a walk-through
    rows = []
    for page in sorted(site.rglob("*.html")):
        text = page.read_text()
        text = re.sub(
            r"<script\b.*?</script>|<link\b[^>]*>|<style\b.*?</style>|<img\b[^>]*>", "", text, flags=re.S
        )
        page.write_text(text.replace("</head>", STYLE + "</head>", 1))
        if (path := page.relative_to(site)).parts[0] == "validations":
            status = "✗ failed" if re.search(r"</i>\s*Failed", text) else "✓ succeeded"
            rows.append(
                f'<tr><td>{status}</td><td><a href="{html.escape(str(path))}">{path.parts[1]}</a></td></tr>'
            )
    (site / "index.html").write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data Docs</title>{STYLE}</head>'
        f"<body><h1>Data Docs</h1><table>{''.join(rows)}</table></body></html>\n"
    )
