"""Fill a paper's tables, row by row, seed by seed, and write what there is after each."""

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.experiments.tables.cells import Cell, Data, chain, maker
from slimstream.experiments.tables.results import Done
from slimstream.experiments.tables.schedule import carry_out
from slimstream.experiments.tables.spec import Row, Spec
from slimstream.experiments.tables.write import write_results
from slimstream.pipeline.params import Params
from slimstream.pipeline.preflight import preflight
from slimstream.pipeline.stages import STAGES

SEEDS = 5
"""So many at most are looked for when the results are written."""
Key = tuple[str, str]
"""A table and a row of it."""


def run_tables(
    spec: Spec,
    paths: Paths,
    table: str | None = None,
    row: str | None = None,
    budget: str = "cpu",
    seeds: int | None = None,
    source: str | None = None,
    jobs: int = 1,
) -> tuple[str, int]:
    """Run the rows that are asked for, `jobs` steps at once, and write docs/results; the section in words and
    how many rows failed.

    Raises UserError before any work starts when a name or a row's settings do not fit.
    """
    rows = chosen(spec, table, row)
    if seeds is not None and not 1 <= seeds <= SEEDS:
        raise UserError(f"--seeds {seeds}: it is 1 to {SEEDS} trainings per row and fold.")
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: at least one step is run at once.")
    check(spec, rows.values(), budget, paths)
    data = Data.open(spec.params(next(iter(rows.values())), budget), paths, source, spec.folds)
    cells = planned(spec, budget, data)
    turns = [
        (where, seed)
        for seed in range(SEEDS)
        for where, r in rows.items()
        if not r.count and seed < (seeds or r.seeds)
    ]

    def write() -> str:
        return write_results(spec, paths, budget, lambda *where: finished(cells, where))

    write()
    by_scores: dict[Path, list[tuple[Key, int]]] = {}
    for turn in turns:
        for cell in cells(*turn):
            by_scores.setdefault(cell.scores, []).append(turn)
    print(f"{spec.paper}: {left(cells, turns, jobs)}", file=sys.stderr, flush=True)
    broken: dict[Key, str] = {}
    for step, why in carry_out((s for turn in turns for cell in cells(*turn) for s in cell.steps()), jobs):
        served = by_scores.get(step.makes, ())
        for where, seed in served:
            head = f"{spec.paper} {' / '.join(where)}, seed {seed}, fold {step.cell.fold}"
            print(f"{head}: {why or left(cells, turns, jobs)}", file=sys.stderr, flush=True)
            broken |= {where: why} if why else {}
        # After each row, so that a killed table shows what it got.
        if not why and any(all(cell.scores.exists() for cell in cells(*turn)) for turn in served):
            write()
    # Last, when nothing runs beside them.
    for where in rows:
        if (where, 0) in turns and where not in broken:
            cells(where, 0)[0].time()
    failures = [f"failed: {' / '.join(where)}: {why}" for where, why in broken.items()]
    return "\n".join([write(), *failures]), len(broken)


def chosen(spec: Spec, table: str | None, row: str | None) -> dict[Key, Row]:
    """The rows of `table` and of name `row`, of any where they are None."""
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


def check(spec: Spec, rows: Iterable[Row], budget: str, paths: Paths) -> None:
    """UserError when the settings of a row do not fit, or name what a network does not have."""
    seen: list[tuple[Params, list[str]]] = []
    for row in rows:
        params = spec.params(row, budget)
        stages = chain(maker(row.model), params)
        if (params, stages) not in seen:
            try:
                preflight(params, paths, [STAGES[name] for name in stages])
            except UserError as error:
                raise UserError(f"{spec.paper}, row '{row.name}': {error}") from error
            seen.append((params, stages))


def planned(spec: Spec, budget: str, data: Data) -> Callable[[Key, int], list[Cell]]:
    """The cells of a row and a seed, one a fold; they are worked out once."""
    rows = chosen(spec, None, None)

    @cache
    def cells(where: Key, seed: int) -> list[Cell]:
        row = rows[where]
        return list(data.cells(row.model, spec.params(row, budget, seed)))

    return cells


def finished(cells: Callable[[Key, int], list[Cell]], where: Key) -> list[list[Done]]:
    """The cells of every seed that all folds are finished of; what draws nothing has one seed."""
    found = []
    for seed in range(SEEDS):
        if seed and cells(where, seed)[0].scores == cells(where, 0)[0].scores:
            break
        done = [cell.done() for cell in cells(where, seed)]
        if all(done):
            found.append([cell for cell in done if cell])
    return found


def left(cells: Callable[[Key, int], list[Cell]], turns: Sequence[tuple[Key, int]], jobs: int) -> str:
    """What is left to do in words, and how long it may take `jobs` processes: as long as finished cells of a
    row took on average, or of any row where it has none."""
    open_: dict[Key, int] = {}
    took: dict[Key, list[float]] = {}
    for where, seed in turns:
        for cell in cells(where, seed):
            open_[where] = open_.get(where, 0) + (cell.done() is None)
        for cell in (*cells(where, 0), *cells(where, seed)):
            if done := cell.done():
                took.setdefault(where, []).append(done.seconds)
    known = {where: sum(spent) / len(spent) for where, spent in took.items()}
    words = f"{sum(open_.values())} cells left"
    if not known:
        return words
    typical = sum(known.values()) / len(known)
    minutes = sum(known.get(where, typical) * count for where, count in open_.items()) / 60 / jobs
    return f"{words}, at most about {minutes:.0f} minutes"
