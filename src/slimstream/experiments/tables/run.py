"""Run a paper's tables in rounds of rows, and write the results after each finished row."""

import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from slimstream.core.errors import UserError
from slimstream.core.files import locked
from slimstream.core.paths import Paths
from slimstream.experiments.runner import check_jobs, run_steps
from slimstream.experiments.tables.asked import Asked, open_protocol, with_answers
from slimstream.experiments.tables.cells import Cell, chain, stage_of_model
from slimstream.experiments.tables.heat_maps import draw_heat_maps
from slimstream.experiments.tables.protocols import Protocol, Replicates, Turn
from slimstream.experiments.tables.record import Key, read_cells, write_cells
from slimstream.experiments.tables.results import FinishedCell, Seeds, with_defect
from slimstream.experiments.tables.spec import Row, Spec
from slimstream.experiments.tables.write import (
    COUNTED,
    cells_file,
    figure_file,
    file_stem,
    judge_claims,
    write_results,
)
from slimstream.pipeline.params import Params
from slimstream.pipeline.preflight import preflight
from slimstream.pipeline.stages import STAGES

Cells = Callable[[Key, int], list[Cell]]
"""Returns the cells of a row and a number (seed, replicate or split)."""


def run_tables(
    spec: Spec,
    paths: Paths,
    table: str | None = None,
    names: Sequence[str] = (),
    budget: str = "cpu",
    asked: Asked | None = None,
    jobs: int | None = None,
) -> tuple[str, int]:
    """Run rows of the tables, `jobs` steps at once, and write docs/results.

    Returns the page of the tables and the number of failed rows. `table` and `names` select rows (none:
    all), `budget` their settings, `asked` the protocol. Raises UserError before any work starts when a name
    is unknown, a row's settings do not fit, or the clips are none for this protocol.
    """
    asked = asked or Asked()
    spec = check_request(spec, paths, table, names, budget, asked)
    check_jobs(jobs)
    rows = {where: r for where, r in select_rows(spec, table, names).items() if not r.count}
    protocol = open_protocol(spec, budget, asked, paths)
    name = file_stem(protocol)
    busy = (
        f"tables {spec.paper}: another run of {name} is under way in this folder. Wait until it ends, or "
        "stop it: what it has finished stays. One run takes several rows (--row a --row b)."
    )
    with locked(paths.cache / "tables" / name, busy):
        tables = _Tables(protocol, paths, jobs, asked)
        if tables.record:
            print(f"{spec.paper}: {len(tables.record)} finished cells are on record.", file=sys.stderr)
        for turns in tables.rounds(rows, asked.seeds):
            if not tables.run(turns):
                print(f"{spec.paper}: the {asked.hours:g} hours are spent.", file=sys.stderr, flush=True)
                break
        failures = [f"failed: {' / '.join(where)}: {why}" for where, why in tables.broken.items()]
        return "\n".join([tables.write(), *failures]), len(tables.broken)


def check_request(
    spec: Spec, paths: Paths, table: str | None, names: Sequence[str], budget: str, asked: Asked
) -> Spec:
    """The tables as they were asked for. Raises UserError for what cannot be run.

    The settings of all rows are read: those of rows that are not asked for, too, because results name them.
    """
    spec = with_answers(spec, asked)
    for row in select_rows(spec).values():
        for own in {budget, *spec.budgets.keys() & {COUNTED}}:
            spec.params(row, own)
    check_rows(spec, select_rows(spec, table, names).values(), budget, paths)
    return spec


class _Tables:
    """The tables of a paper under one protocol, while they run."""

    def __init__(self, protocol: Protocol, paths: Paths, jobs: int | None, asked: Asked) -> None:
        self.protocol, self.paths, self.jobs, self.anew = protocol, paths, jobs, asked.anew
        self.end = None if asked.hours is None else time.monotonic() + 3600 * asked.hours
        self.rows = select_rows(protocol.spec)
        self.trained = [where for where, row in self.rows.items() if not row.count]
        self.cells = plan_cells(self.rows, protocol)
        self.record = read_cells(cells_file(protocol, paths))
        self.broken: dict[Key, str] = {}

    def rounds(self, rows: Mapping[Key, Row], seeds: int | None) -> Iterator[list[Turn]]:
        """The turns of `rows`; with hours to spend, also those of claims that need more replicates."""
        yield from self.protocol.rounds(rows, seeds)
        if self.end is not None and isinstance(self.protocol, Replicates):
            for number in range(self.protocol.count, self.protocol.most):
                if not (wanted := self.undecided(rows)):
                    break
                yield [(where, number) for where in wanted]
        yield from self.protocol.last_rounds(rows)

    def undecided(self, rows: Container[Key]) -> list[Key]:
        """The rows of the claims that more replicates may decide, where all rows of a claim are in `rows`."""
        tables, wanted = self.protocol.spec.tables, set[Key]()
        for judged in judge_claims(self.protocol, self.done()):
            claim = judged.claim
            named = [(claim.table, name) for name in claim.rows(tables[claim.table])]
            if judged.waits and all(where in rows and where not in self.broken for where in named):
                wanted.update(named)
        return [where for where in self.rows if where in wanted]

    def run(self, turns: Sequence[Turn]) -> bool:
        """Run a round; False when the hours were spent before it was finished."""
        if self._late():
            return False
        turns = [turn for turn in turns if turn[0] not in self.broken]
        open_turns = [turn for turn in turns if self.open_cells(turn)]
        for number in sorted({number for _, number in open_turns}):
            self.protocol.prepare(number)
        wanted = [(turn, cell) for turn in open_turns for cell in self.open_cells(turn)]
        by_scores: dict[Path, list[tuple[Turn, str]]] = {}
        for turn, cell in wanted:
            by_scores.setdefault(cell.scores, []).append((turn, cell.fold))
        finished = True
        with closing(run_steps((step for _, cell in wanted for step in cell.steps()), self.jobs)) as steps:
            for ended in steps:
                served = by_scores.get(ended.step.makes, [])
                for (where, number), fold in served:
                    which = f"seed {number}, fold {fold}" if self.protocol.unit == "fold" else fold
                    head = f"{self.protocol.spec.paper} {' / '.join(where)}, {which}"
                    print(f"{head}: {ended.error or ended.left}", file=sys.stderr, flush=True)
                    self.broken |= {where: ended.error} if ended.error else {}
                # After each row, so that a killed run leaves the results of its finished rows.
                if not ended.error and any(
                    all(self.finished(cell) for cell in self.cells(*turn)) for turn, _ in served
                ):
                    self.write()
                if self._late():
                    finished = False
                    break
        # Also of a run that was stopped before: finished networks are timed, and drawn, when all have ended.
        if finished and any(cell.here for turn in turns for cell in self.cells(*turn)):
            self._end_round(turns)
        return finished

    def _end_round(self, turns: Sequence[Turn]) -> None:
        """Measure latencies, when nothing else runs, draw heat maps, delete what is needed no more."""
        here = {turn: [cell for cell in self.cells(*turn) if cell.here] for turn in turns}
        for cells in (cells for (_, number), cells in here.items() if number == 0 and cells):
            cells[0].time()
        if isinstance(self.protocol, Replicates):
            self._draw_heat_maps()
        self.write()
        if all(self.finished(cell) for turn in turns for cell in self.cells(*turn)):
            self.protocol.clear(cell for cells in here.values() for cell in cells)

    def _draw_heat_maps(self) -> None:
        """Draw the figures of heat maps of the first replicate, if all their networks are here."""
        for name, figure in self.protocol.spec.figures.items():
            cells = {row: self.cells((figure.table, row), 0)[0] for row in figure.rows}
            if figure.heat and all(cell.here for cell in cells.values()):
                draw_heat_maps(figure, cells, figure_file(self.protocol, self.paths, name))

    def _late(self) -> bool:
        return self.end is not None and time.monotonic() > self.end

    def finished(self, cell: Cell) -> FinishedCell | None:
        """The cell as it was made here or is on record, whatever code has made it."""
        found = cell.done() or self.record.get(cell.key)
        return found and with_defect(found, self.protocol.spec.defect)

    def open_cells(self, turn: Turn) -> list[Cell]:
        """The cells of a turn that are to be run; with --anew also those that other code has made."""
        found = [(cell, self.finished(cell)) for cell in self.cells(*turn)]
        return [c for c, done in found if not done or (self.anew and done.scores["code"] != c.code)]

    def numbers(self) -> list[int]:
        """The numbers of turns that may have finished cells."""
        recorded = {cell.number for cell in self.record.values()}
        return [n for n in range(self.protocol.most) if n in recorded or self.protocol.ready(n)]

    def done(self) -> dict[Key, Seeds]:
        """The finished cells of every row that is trained, of numbers with all folds."""
        numbers = self.numbers()
        return {where: finished_cells(self.cells, where, numbers, self.finished) for where in self.trained}

    def write(self) -> str:
        """Write all finished cells, and the results of them."""
        numbers, figures = self.numbers(), self.protocol.spec.figures.values()
        every = {
            where: [self.finished(cell) for number in numbers for cell in self.cells(where, number)]
            for where in self.trained
        }
        alone = {where: {cell.key: cell for cell in cells if cell}.values() for where, cells in every.items()}
        drawn = {(figure.table, row) for figure in figures if figure.curves for row in figure.rows}
        write_cells(cells_file(self.protocol, self.paths), alone, drawn)
        return write_results(self.protocol, self.paths, self.done())


def select_rows(spec: Spec, table: str | None = None, names: Sequence[str] = ()) -> dict[Key, Row]:
    """The rows of `table` with one of these names; none selects all. Raises UserError for an unknown name."""
    if table not in (None, *spec.tables):
        raise UserError(f"{spec.paper} has no table '{table}'; there are {', '.join(spec.tables)}.")
    rows = {(name, r.name): r for name, t in spec.tables.items() for r in t.rows if table in (None, name)}
    for name in names:
        if name not in {row.name for row in rows.values()}:
            raise UserError(
                f"{spec.paper} has no row '{name}' there; `tables {spec.paper} --list` names all rows."
            )
    return {where: row for where, row in rows.items() if not names or row.name in names}


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


def plan_cells(rows: Mapping[Key, Row], protocol: Protocol) -> Cells:
    """A function that returns the cells of a row and a number, and remembers them."""
    known: dict[Turn, list[Cell]] = {}

    def cells(where: Key, number: int) -> list[Cell]:
        if (where, number) not in known:
            known[where, number] = protocol.cells(rows[where], number)
        return known[where, number]

    return cells


def finished_cells(
    cells: Cells, where: Key, numbers: Iterable[int], finished: Callable[[Cell], FinishedCell | None]
) -> list[list[FinishedCell]]:
    """The cells of every number with all folds finished. Rows without randomness have one seed."""
    found: list[list[FinishedCell]] = []
    first = ""
    for number in numbers:
        planned = cells(where, number)
        if planned[0].key == first:
            return found
        first = first or planned[0].key
        done = [finished(cell) for cell in planned]
        if all(done):
            found.append([cell for cell in done if cell])
    return found
