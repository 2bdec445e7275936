"""Writes the results: CSV files, figures, a page of each protocol, and the summary in docs/results.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from slimstream.core.files import atomic_write, locked
from slimstream.core.paths import Paths
from slimstream.experiments.tables.claims import Counted, Judged, judge, judge_twice
from slimstream.experiments.tables.figures import draw, have_curves
from slimstream.experiments.tables.protocols import Folds, Protocol, Replicates, Splits
from slimstream.experiments.tables.record import Key, write_csv
from slimstream.experiments.tables.results import Seeds
from slimstream.experiments.tables.rows import (
    csv_row,
    markdown,
    network_cost,
    order_line,
    read_accuracy,
    versions,
)
from slimstream.experiments.tables.spec import Claim, Spec, Table

COUNTED = "paper"
"""The budget whose networks are counted, where there is one."""
Done = Mapping[Key, Seeds]
"""Finished cells by names of table and row."""


def write_results(protocol: Protocol, paths: Paths, done: Done) -> str:
    """Write CSV files, figures and the page of `protocol`, and the summary of all pages; return the page.

    With --quick all go to reports/quick instead of docs.
    """
    spec, name = protocol.spec, file_stem(protocol)
    home = results_home(protocol, paths)
    folder = home / "results"
    folder.mkdir(parents=True, exist_ok=True)
    judged = judge_claims(protocol, done)
    if judged:
        write_csv(claims_csv(protocol, judged), folder / f"{name}-claims.csv")
    lines = [
        f"# {spec.title}, {protocol.heading}",
        "",
        preamble(protocol),
        "",
        *claims_table(protocol, judged),
    ]
    for table_name, table in spec.tables.items():
        stem = f"{spec.paper}-{table_name}{suffix(protocol)}"
        rows = {row.name: done.get((table_name, row.name), []) for row in table.rows if not row.count}
        csv = pd.DataFrame([csv_row(protocol, row, rows.get(row.name, [])) for row in table.rows])
        write_csv(csv, folder / f"{stem}.csv")
        real = isinstance(protocol, Folds) and not protocol.plant
        printed = folder / f"{spec.paper}-{table_name}{suffix(protocol, Splits.suffix)}.csv"
        flattered = read_accuracy(printed) if real else {}
        lines += ["", f"## {table.title}", "", *markdown(csv, flattered), *versions(rows)]
        note = table.note_simulated if isinstance(protocol, Replicates) else table.note if real else ""
        said = [order_line(protocol, table_name, table, rows), note.strip()]
        lines += [line for text in said if text for line in ("", text)]
        for figure, f in spec.figures.items():
            if f.table != table_name:
                continue
            finished = {row: rows[row] for row in f.rows if rows[row]}
            if f.curves:  # cells on record have them if they were made for a figure
                finished = {row: seeds for row, seeds in finished.items() if have_curves(seeds)}
            if not finished:
                continue
            drawn = figure_file(protocol, paths, figure)
            if not f.heat:
                draw(f, finished, drawn)
            picture = drawn.with_suffix(".png" if f.heat else ".svg")
            lines += ["", f"![{f.title}]({picture.name})"] if picture.exists() else []
    page = "\n".join(lines) + "\n"
    with atomic_write(folder / f"{name}.md") as half:
        half.write_text(page)
    with locked(paths.cache / "tables/summary"):  # the tables of two papers may run at once
        write_summary(home)
    return page


def results_home(protocol: Protocol, paths: Paths) -> Path:
    """The folder of results.md and of the folder `results`."""
    return paths.root / ("reports/quick" if protocol.spec.tiny else "docs")


def cells_file(protocol: Protocol, paths: Paths) -> Path:
    """The CSV of all finished cells of a protocol."""
    return results_home(protocol, paths) / "results" / f"{file_stem(protocol)}-cells.csv"


def figure_file(protocol: Protocol, paths: Paths, name: str) -> Path:
    """A file of the figure `name`, without its suffix."""
    stem = f"{protocol.spec.paper}-{name}{suffix(protocol)}"
    return results_home(protocol, paths) / "results" / stem


def suffix(protocol: Protocol, own: str | None = None) -> str:
    """End of the names of files: the protocol's, or `own` instead, and the budget unless it is `cpu`."""
    budget = "" if protocol.budget == "cpu" else f"-{protocol.budget}"
    return f"{protocol.suffix if own is None else own}{budget}"


def file_stem(protocol: Protocol) -> str:
    """Name of its page."""
    return f"{protocol.spec.paper}{suffix(protocol)}"


def judge_claims(protocol: Protocol, done: Done) -> list[Judged]:
    """All claims of the paper, judged by the finished cells."""
    return [_judge_claim(claim, protocol, done) for claim in protocol.spec.claims]


def _judge_claim(claim: Claim, protocol: Protocol, done: Done) -> Judged:
    table = protocol.spec.tables[claim.table]
    rows = {row.name: done.get((claim.table, row.name), []) for row in table.rows}
    counted = _counted(protocol.spec, table, rows)

    def judged_by(rows: Mapping[str, Seeds]) -> Judged:
        return judge(claim, table, rows, counted, protocol.overlap, protocol.first, protocol.independent)

    def first(count: int) -> Mapping[str, Seeds]:
        return {name: [seed for seed in seeds if seed[0].number < count] for name, seeds in rows.items()}

    if isinstance(protocol, Replicates):
        return judge_twice(lambda count: judged_by(first(count)), protocol.first, protocol.most)
    return judged_by(rows)


def _counted(spec: Spec, table: Table, done: Mapping[str, Seeds]) -> Counted:
    """Counts of rows: of their networks as printed (budget `paper`); where one was pruned, as measured."""

    def counted(names: Sequence[str], metric: str) -> dict[str, float]:
        budget = COUNTED if COUNTED in spec.budgets else next(iter(spec.budgets))
        found = {name: network_cost(spec, table.row(name), budget) for name in names}
        if all(found.values()):
            return {name: float(cost[metric]) for name, cost in found.items()}
        cells = {name: [cell for cells in done[name] for cell in cells] for name in names}
        return {
            name: float(np.mean([cell.scores[metric] for cell in own])) for name, own in cells.items() if own
        }

    return counted


def claims_csv(protocol: Protocol, judged: Sequence[Judged]) -> pd.DataFrame:
    """One row per claim."""
    return pd.DataFrame(
        [
            {
                "paper": protocol.spec.paper,
                "claim": each.claim.says,
                "reported": each.reported,
                "ours": each.ours,
                "verdict": each.verdict,
                "status": each.status(protocol.unit),
                "units": each.units,
                "needed": "" if each.needed in (0, None) else each.needed,
                "unit": protocol.unit,
                "budget": protocol.budget,
                "on": "counted" if each.claim.counts else protocol.heading,
                "page": f"{file_stem(protocol)}.md",
            }
            for each in judged
        ]
    )


def claims_table(protocol: Protocol, judged: Sequence[Judged]) -> list[str]:
    """The lines of a Markdown table of the claims."""
    lines = ["| claim | the paper | ours (95 % interval) | verdict |", "|---|---|---|---|"]
    for row in claims_csv(protocol, judged).to_dict("records"):
        lines.append(f"| {row['claim']} | {row['reported']} | {row['ours']} | **{row['status']}** |")
    return lines if judged else []


UNITS = ("replicate", "fold", "split")
"""Whose verdict the summary shows, the first first."""
VERDICTS = ("borne out", "contradicted", "not testable", "not decided", "not run")
"""In the order in which the summary counts them."""


def write_summary(home: Path) -> None:
    """Write the verdict on every claim into `home`/results.md, from the claims of all pages.

    First how many claims have which verdict, then a line for each, and the names of those that were not run.

    Of several pages of a paper that on simulated clips counts, then that in folds; and of budgets the larger.
    """
    files = [pd.read_csv(file, keep_default_na=False) for file in sorted(home.glob("results/*-claims.csv"))]
    if not files:
        return
    claims = pd.concat(files).reset_index(names="place")
    claims["not_run"], claims["cut"] = claims["verdict"] == "not run", claims["budget"] == "cpu"
    claims["rank"] = claims["unit"].map({unit: rank for rank, unit in enumerate(UNITS)})
    best = claims.sort_values(["not_run", "rank", "cut"], kind="stable").drop_duplicates(["paper", "claim"])
    counts = best["verdict"].value_counts()
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if verdict in counts)
    lines = [f"**{len(best)} claims: {said}.**", ""]
    lines += ["| claim | the paper | ours (95 % interval) | verdict | on |", "|---|---|---|---|---|"]
    best = best.sort_values(["paper", "place"])
    for row in best[~best["not_run"]].to_dict("records"):
        on = f"[{row['on']}](results/{row['page']})"
        said = f"{row['paper'].upper()}: {row['claim']}"
        lines.append(f"| {said} | {row['reported']} | {row['ours']} | **{row['status']}** | {on} |")
    for paper, rows in best[best["not_run"]].groupby("paper"):
        lines += ["", f"Not run of {str(paper).upper()}:", *(f"- {claim}" for claim in rows["claim"])]
    page = home / "results.md"
    text = page.read_text() if page.exists() else "# Results\n"
    with atomic_write(page) as half:
        half.write_text(replace_section(text, "claims", "\n".join(lines)))


def replace_section(text: str, name: str, section: str) -> str:
    """`text` with `section` between the markers of `name`; they are added at the end when missing."""
    begin, end = f"<!-- {name}: begin, written by `python -m slimstream tables` -->", f"<!-- {name}: end -->"
    block = f"{begin}\n{section}\n{end}"
    if begin in text and end in text:
        head, rest = text.split(begin, 1)
        return head + block + rest.split(end, 1)[1]
    return f"{text.rstrip()}\n\n{block}\n"


def preamble(protocol: Protocol) -> str:
    """The paragraph before the tables: how the numbers were computed."""
    return (
        f"{protocol.preamble} Budget `{protocol.budget}`, the same for all rows "
        f"(recipes/tables/{protocol.spec.paper}.yaml says what was cut). Macro recall is balanced accuracy. "
        "The paper's figures are on its own data: only differences and orders of rows can be compared. "
        "Latencies were taken one after another, so a busy machine shows in them; more so in the time of a "
        "training (the median): it is by the clock, of the network and of those it was pruned or goes on "
        "from, without its teachers', which have rows of their own."
    )
