"""What a user may ask of the tables: a protocol and its numbers, checked before any work starts."""

from dataclasses import dataclass

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.simulated import SIMULATED
from slimstream.experiments.stage_runs import with_source
from slimstream.experiments.tables.cells import DataSource
from slimstream.experiments.tables.protocols import MOST_REPLICATES, Folds, Protocol, Replicates, Splits
from slimstream.experiments.tables.spec import SEEDS, Spec
from slimstream.pipeline.params import Params
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.plants.source import PLANTS
from slimstream.stages.ingest.sources import FolderSource, open_source


@dataclass(frozen=True)
class Asked:
    """What the user asks of a protocol."""

    source: str | None = None
    """Of the clips; None: the simulated plant of the tables or, where they have none, the checkout's."""
    replicates: int | None = None
    folds: int | None = None
    as_printed: bool = False
    seeds: int | None = None
    hours: float | None = None
    quick: bool = False
    anew: bool = False


def with_answers(spec: Spec, asked: Asked) -> Spec:
    """`spec` with the numbers that were asked for. Raises UserError for what does not go together."""
    plant = spec.simulated.plant if spec.simulated else ""
    real = asked.source not in (None, plant) or not plant
    clips = asked.source or "this checkout"
    if asked.source in SIMULATED and asked.source != plant:
        raise UserError(
            f"--source {asked.source}: the tables of {spec.paper} have "
            f"{f'the simulated plant {plant}' if plant else 'no simulated plant'}; leave --source out, and "
            "each paper takes its own."
        )
    if real and (asked.replicates is not None or asked.quick):
        option = "--quick" if asked.quick else "--replicates"
        raise UserError(
            f"{option}: a replicate renders new clips, and the clips of {clips} are real: leave --source out "
            "for the simulated plant, or take --folds."
        )
    if not real and asked.as_printed:
        raise UserError(
            "--as-printed: random splits flatter, and the simulated plant has new groups for every test; "
            "name real clips with --source."
        )
    if asked.seeds is not None and (asked.as_printed or not (real or asked.folds)):
        raise UserError("--seeds: only folds have several trainings of a row; take more --replicates.")
    if asked.folds is not None and asked.quick:
        raise UserError("--quick is one replicate of tiny data: leave out --folds.")
    for name, number, least, most in (
        ("--replicates", asked.replicates, 2, MOST_REPLICATES),
        ("--folds", asked.folds, 3, None),
        ("--seeds", asked.seeds, 1, SEEDS),
        ("--hours", asked.hours, 0, None),
    ):
        if number is not None and (number < least or (most is not None and number > most)):
            raise UserError(f"{name} {number:g}: it is {least} to {most or 'any number'}.")
    changes: dict[str, object] = {"tiny": asked.quick}
    if asked.folds is not None:
        changes["folds"] = asked.folds
    if spec.simulated and (asked.replicates is not None or asked.quick):
        count = asked.replicates or 1  # one of a quick run is enough to see that every row works
        judges = spec.simulated.judges or spec.simulated.replicates  # fewer are run, and judge nothing
        changes["simulated"] = spec.simulated.model_copy(update={"replicates": count, "judges": judges})
    own = spec.as_printed if asked.as_printed else None if real else spec.simulated
    if asked.as_printed and own is None:
        raise UserError(f"--as-printed: the tables of {spec.paper} have no section 'as_printed'.")
    return spec.model_copy(update=changes).under(own)


def check_plant_groups(spec: Spec, params: Params) -> None:
    """Raise UserError when the simulated plant has too few groups for the folds or the split of `spec`."""
    assert spec.simulated is not None
    plant = spec.simulated.plant
    column = params.split.group_by[0] if params.split.group_by else ""
    groups = {clip.groups.get(column) for clip in PLANTS[plant](params.ingest)}
    if len(groups) < spec.folds:
        raise UserError(
            f"--folds {spec.folds}: the simulated plant {plant} has {len(groups)} groups by {column!r}; take "
            f"fewer folds, or raise ingest.{plant} in the section 'simulated' of the tables."
        )


def check_folder(source: str, paths: Paths) -> None:
    """Raise UserError when `source` cannot be one; a plant whose name is near that of no folder is named."""
    if source in SIMULATED or source.startswith("s3://"):
        return
    opened = open_source(IngestParams(), source, paths)
    assert isinstance(opened, FolderSource)
    opened.check()


def open_protocol(spec: Spec, budget: str, asked: Asked, paths: Paths) -> Protocol:
    """The protocol that was asked for, for `spec` as `with_answers` returns it.

    Real clips are fetched and validated, those of a replicate only when its turn comes. Raises UserError.
    """
    params = spec.params(spec.first_row, budget)
    if spec.simulated and asked.source in (None, plant := spec.simulated.plant):
        if asked.folds is None:
            return Replicates(spec, budget, plant, spec.simulated.replicates, paths)
        check_plant_groups(spec, with_source(params, plant))
        data = _prepared(with_source(params, plant), paths)
        return Folds(spec, budget, data, plant)
    if asked.source is None:
        data = DataSource.of_checkout(paths)
    else:
        data = _prepared(with_source(params, asked.source), paths)
    if asked.as_printed and spec.as_printed:
        shares = (params.split.train, params.split.val, params.split.test)
        return Splits(spec, budget, data, spec.as_printed.splits, shares)
    return Folds(spec, budget, data)


def _prepared(params: Params, paths: Paths) -> DataSource:
    data = DataSource.planned(params, paths)
    data.prepare(params)
    return data
