"""`python -m benchmarks.front [ROOT]`: the picture of the README, from the demo in the folder ROOT.

It is the chart with which the report opens, in colours of its own: docs/front.svg.
"""

import argparse
from pathlib import Path

from slimstream.core.paths import Paths
from slimstream.pipeline.params import load_params
from slimstream.stages.evaluate.report.front import read_json, read_table, search_front

OUT = Path(__file__).parents[1] / "docs/front.svg"
STYLE = """<style>
svg { color: #1d2126; --muted: #646b74; --line: #e3e1da; --accent: #0b6e69; --slim: #b8434e; }
@media (prefers-color-scheme: dark) {
  svg { color: #e8e6e1; --muted: #9ca4ae; --line: #30363d; --accent: #4fc4b8; --slim: #ee8088; }
}
text { font-family: system-ui, "Segoe UI", Roboto, sans-serif !important; }
.interval { opacity: .4 } .interval.other { opacity: 0 }
</style>"""
"""Colours of the report; those of other models are not drawn here."""


def picture(paths: Paths) -> str:
    """The picture as SVG. Exits with a sentence where the folder holds no search of the simulated rig."""
    if load_params(paths.params).ingest.source != "rig":
        raise SystemExit(f"{paths.params}: the clips are not those of the rig; only its numbers are shown.")
    rows = read_table(paths.curves("search"))
    if not rows:
        raise SystemExit(f"{paths.curves('search')} has no candidates; run `make demo` first.")
    drawn, _ = search_front(rows, (read_json(paths.search) or {}).get("margin"), inches=(9, 4))
    head, end, rest = drawn.partition(">")
    return f"{head}{end}\n{STYLE}{rest}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.front", description=__doc__)
    parser.add_argument(
        "root", nargs="?", type=Path, default=Path(), help="folder of the demo (default: here)"
    )
    OUT.write_text(picture(Paths(parser.parse_args().root)), encoding="utf-8")
    print(OUT)


if __name__ == "__main__":
    main()
