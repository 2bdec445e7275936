"""Run a paper's tables, seed by seed and row by row, and write the results after each finished row."""

import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.experiments.runner import check_jobs, run_steps
from slimstream.experiments.stage_runs import report_stale_stages
from slimstream.experiments.tables.cells import Cell, DataSource, chain, stage_of_model
from slimstream.experiments.tables.results import FinishedCell
from slimstream.experiments.tables.spec import Row, Spec
from slimstream.experiments.tables.write import write_results
from slimstream.pipeline.params import Params
from slimstream.pipeline.preflight import preflight
from slimstream.pipeline.stages import STAGES

SEEDS = 5
"""Maximum number of seeds per row."""
Key = tuple[str, str]
"""Names of a table and of one of its rows."""
Cells = Callable[[Key, int], list[Cell]]
"""Returns the cells of a row and a seed, one per fold."""


def run_tables(
    spec: Spec,
    paths: Paths,
    table: str | None = None,
    row: str | None = None,
    budget: str = "cpu",
    seeds: int | None = None,
    source: str | None = None,
    jobs: int | None = None,
    keep: bool = False,
) -> tuple[str, int]:
    """Run rows of the tables, `jobs` steps at once, and write docs/results.

    Returns the section of docs/results.md and the number of failed rows. `table` and `row` select rows (None:
    all), `budget` their settings, `seeds` the trainings per row and fold. `source` names the clips (None:
    those of the checkout). Results of other code are made again or, with `keep`, used and marked. Raises
    UserError before any work starts when a name is unknown or a row's settings do not fit.
    """
    rows = select_rows(spec, table, row)
    if seeds is not None and not 1 <= seeds <= SEEDS:
        raise UserError(f"--seeds {seeds}: it is 1 to {SEEDS} trainings per row and fold.")
    check_jobs(jobs)
    check_rows(spec, rows.values(), budget, paths)
    data = DataSource.open(spec.params(next(iter(rows.values())), budget), paths, source, spec.folds, keep)
    cells = plan_cells(spec, budget, data)
    # A result of other code stays in the table, with a mark, until there is one of the present code.
    otherwise = plan_cells(spec, budget, data.keeping())
    turns = [
        (where, seed)
        for seed in range(SEEDS)
        for where, r in rows.items()
        if not r.count and seed < (seeds or r.seeds)
    ]

    def write() -> str:
        return write_results(spec, paths, budget, lambda *where: finished_cells(cells, where, otherwise))

    wanted = [(turn, cell) for turn in turns for cell in cells(*turn)]
    report_stale_stages(spec.paper, [run for _, cell in wanted for run in (cell.packs, *cell.runs.values())])
    by_scores: dict[Path, list[tuple[tuple[Key, int], str]]] = {}
    for turn, cell in wanted:
        by_scores.setdefault(cell.scores, []).append((turn, cell.fold))
    broken: dict[Key, str] = {}
    for ended in run_steps((step for _, cell in wanted for step in cell.steps()), jobs):
        served = by_scores.get(ended.step.makes, ())
        for (where, seed), fold in served:
            head = f"{spec.paper} {' / '.join(where)}, seed {seed}, fold {fold}"
            print(f"{head}: {ended.error or ended.left}", file=sys.stderr, flush=True)
            broken |= {where: ended.error} if ended.error else {}
        # After each row, so that a killed run leaves the results of its finished rows.
        if not ended.error and any(all(cell.scores.exists() for cell in cells(*turn)) for turn, _ in served):
            write()
    # Latencies are measured last, when nothing else runs.
    for where in rows:
        if (where, 0) in turns and where not in broken:
            cells(where, 0)[0].time()
    failures = [f"failed: {' / '.join(where)}: {why}" for where, why in broken.items()]
    return "\n".join([write(), *failures]), len(broken)


def select_rows(spec: Spec, table: str | None, row: str | None) -> dict[Key, Row]:
    """The rows named `row` in `table`; None selects all. Raises UserError when there are none."""
    if table not in (None, *spec.tables):
        raise UserError(f"{spec.paper} has no table '{table}'; there are {', '.join(spec.tables)}.")
    rows = {
        (name, r.name): r
        for name, t in spec.tables.items()
        for r in t.rows
        if table in (None, name) and row in (None, r.name)
    }
    if not rows:
        raise UserError(
            f"{spec.paper} has no row '{row}' there; `tables {spec.paper} --list` names all rows."
        )
    return rows


def check_rows(spec: Spec, rows: Iterable[Row], budget: str, paths: Paths) -> None:
    """Raise UserError when the settings of a row are wrong or do not fit its network."""
    seen: list[tuple[Params, list[str]]] = []
    for row in rows:
        params = spec.params(row, budget)
        stages = chain(stage_of_model(row.model), params)
        if (params, stages) not in seen:
            try:
                preflight(params, paths, [STAGES[name] for name in stages])
            except UserError as error:
                raise UserError(f"{spec.paper}, row '{row.name}': {error}") from error
            seen.append((params, stages))


def plan_cells(spec: Spec, budget: str, data: DataSource) -> Cells:
    """A cached function that returns the cells of a row and a seed, one per fold."""
    rows = select_rows(spec, None, None)

    @cache
    def cells(where: Key, seed: int) -> list[Cell]:
        row = rows[where]
        return list(data.cells(row.model, spec.params(row, budget, seed)))

    return cells


def finished_cells(cells: Cells, where: Key, otherwise: Cells | None = None) -> list[list[FinishedCell]]:
    """The cells of every seed with all folds finished. Rows without randomness have one seed.

    For a seed that is not finished in `cells`, those of other code in `otherwise` are used.
    """
    found = []
    for seed in range(SEEDS):
        if seed and cells(where, seed)[0].scores == cells(where, 0)[0].scores:
            break
        for plan in filter(None, (cells, otherwise)):
            done = [cell.done() for cell in plan(where, seed)]
            if all(done):
                found.append([cell for cell in done if cell])
                break
    return found
