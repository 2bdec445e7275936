"""The commands of `python -m slimstream`, a function each. They return an exit status; None is success.

Heavy libraries are imported inside the functions, so `--help` is fast.
"""

import argparse
import json
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from slimstream.cli import torchrun
from slimstream.cli.memory import keep_freed_memory
from slimstream.core.environment import training_processes
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.stages import STAGES

if TYPE_CHECKING:
    from slimstream.stages.ingest.held_out import HeldOut


def stage(args: argparse.Namespace, paths: Paths) -> int:
    """Run one stage, under torchrun too, and write its metrics and run id."""
    from slimstream.pipeline.preflight import before_training
    from slimstream.tracking.child import child_run
    from slimstream.tracking.run import NullRun

    keep_freed_memory()
    params, stage = load_params(paths.params), STAGES[args.command]
    if not torchrun.under_torchrun():
        if stage.trains and training_processes() > 1:
            return torchrun.run_distributed(stage.name, args.root, training_processes())
        ours: AbstractContextManager[None] = nullcontext()
    elif stage.trains:
        torchrun.exit_with_launcher()
        from slimstream.training.distributed import process_group

        ours = process_group()
    else:
        shared = ", ".join(stage.name for stage in STAGES.values() if stage.trains)
        raise UserError(f"torchrun is for {shared}; run this stage without it.")
    works, first = stage.has_work(params), torchrun.is_main_process()
    if stage.trains and works:  # a training may take hours: what a later stage would refuse is reported first
        before_training(params, paths)
    with ours, child_run(stage.name, params, paths) if first and works else nullcontext(NullRun()) as run:
        metrics = stage.run(params, paths, run.log)
        if first:
            run.results(metrics)
            for trial in stage.trials(paths):
                run.nested(*trial)
            _write_json(paths.metrics(stage.name), metrics)
    if first:
        _write_json(paths.run(stage.name), {"run_id": run.run_id})
    return 0


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def scan(args: argparse.Namespace, paths: Paths) -> None:
    """List the source into source.lock.json and print what has changed."""
    from slimstream.pipeline.plan import plan
    from slimstream.pipeline.preflight import check_settings, preflight
    from slimstream.stages.ingest import scan as source
    from slimstream.stages.ingest.new_states import Needs

    params = load_params(paths.params)
    # Wrong settings are reported before anything is listed; a dry run writes nothing, not even what passed.
    (preflight if args.dry_run else check_settings)(params, paths)
    result = source.scan(
        params.ingest,
        params.split.group_by,
        paths,
        args.source,
        not args.dry_run,
        partial(_held_out_before, params, paths),
        Needs.of(params.validate_.min_clips, params.split.given),
        _split_differs(params, paths),
    )
    if not args.json:
        print(result, flush=True)
    classes, keys = sorted({item.label for item in result.items}), [item.key for item in result.items]
    told = result.inbox + preflight(params, paths, items=result.items, keys=keys, classes=classes)
    if not args.dry_run:
        known = paths.split.exists() and not result.differs
        told += plan(params, paths, result.items, None if known else result.source)
    for sentence in told:
        print(f"scan: {sentence}", file=sys.stderr, flush=True)
    if args.json:  # the last line, for who reads both streams as one
        print(json.dumps({name: value for name, value in asdict(result).items() if name != "items"}))


def _split_differs(params: Params, paths: Paths) -> bool:
    """Whether the settings of `split` are no longer those of the last split."""
    from pydantic import ValidationError

    from slimstream.splits.params import SplitParams
    from slimstream.stages.ingest.held_out import last_split_settings

    if (before := last_split_settings(paths)) is None:
        return False
    try:
        return SplitParams.model_validate(before) != params.split
    except ValidationError:  # of an earlier version
        return True


def _held_out_before(params: Params, paths: Paths) -> "tuple[HeldOut, list[str]]":
    """Clips that were in a test part, from the committed source.lock.json and the registered versions.

    Also returns messages for the user. MLflow is imported only where there is a registry.
    """
    from slimstream.stages.ingest.held_out import HeldOut
    from slimstream.stages.ingest.scan import parse_lock
    from slimstream.tracking.address import readable_stores, tracking_off
    from slimstream.tracking.repository import git

    found = HeldOut()
    if committed := git(paths, "show", f"HEAD:./{paths.source_lock.name}"):
        with suppress(UserError):
            found |= parse_lock(committed, "HEAD").memory
    uris, unread = ([], []) if tracking_off() else readable_stores(paths)
    if not uris:
        return found, unread
    from slimstream.registry.versions import held_out

    known, notes = held_out(params.publish.name, paths, uris)
    return found | known, unread + notes


def models(args: argparse.Namespace, paths: Paths) -> None:
    """Print the table of networks, or of the models of the last run."""
    from slimstream.cli.model_table import evaluated_models, format_table, model_table
    from slimstream.models.cost import measure

    if args.evaluated:
        print(evaluated_models(paths, as_json=args.json))
        return

    params = load_params(paths.params) if paths.params.exists() else Params()
    rows = model_table(args.classes, params.extract.size, args.frames, measure)
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    height, width = params.extract.size
    print(format_table(rows))
    print(
        f"\nMACs: {args.frames} frame{'s' * (args.frames > 1)} of {width} × {height}, as params.yaml has it. "
        "PCA, SVM and random forest on sensor logs: `python -m slimstream process --help`."
    )


def publish(args: argparse.Namespace, paths: Paths) -> None:
    """Register the compressed model; the gate decides whether it becomes the champion."""
    from slimstream.registry import publish as publishing

    print(publishing.publish(load_params(paths.params), paths, promote=not args.no_promote))


def rollback(args: argparse.Namespace, paths: Paths) -> None:
    """Make the previous champion the champion again."""
    from slimstream.registry import versions as registry

    print(registry.rollback(_model_name(args, paths), paths))


def promote(args: argparse.Namespace, paths: Paths) -> None:
    """Make a registered version the champion."""
    from slimstream.registry import versions as registry

    print(registry.promote(_model_name(args, paths), args.version, paths, args.force))


def evaluate_champion(args: argparse.Namespace, paths: Paths) -> None:
    """Evaluate the champion on fresh labelled clips."""
    from slimstream.registry import champion_check

    print(champion_check.evaluate_champion(load_params(paths.params), paths, args.source))


def _model_name(args: argparse.Namespace, paths: Paths) -> str:
    return str(args.name or load_params(paths.params).publish.name)


def versions(args: argparse.Namespace, paths: Paths) -> None:
    """Print the registered versions."""
    from slimstream.registry import versions as registry

    name = _model_name(args, paths)
    if len(table := registry.versions(name, paths)):
        print(table.to_string(index=False))
    elif others := registry.model_names(paths):
        print(f"Nothing is registered as {name} yet; there is --name {', '.join(others)}.")
    else:
        print("Nothing is registered yet: run `make demo`.")


def gc(args: argparse.Namespace, paths: Paths) -> None:
    """Print what is not needed any more and, with --yes, delete it."""
    from slimstream.registry.retention import collect

    if not args.days >= 0:  # nor NaN
        raise UserError(f"--days {args.days:g}: it is a number of days, 0 or more.")
    kinds = collect(paths, args.days, args.also)
    for kind in kinds:
        print("\n".join([str(kind), *(f"  {item}" for item in kind.items if args.list)]))
    if not args.yes:
        print(
            "Nothing was deleted; --yes does it." if any(kind.items for kind in kinds) else "Nothing to do."
        )
        return
    for kind in kinds:
        kind.delete()


def clean(args: argparse.Namespace, paths: Paths) -> None:
    """Delete the outputs that dvc.yaml names, and the report."""
    from slimstream.cli.clean import clean as remove

    deleted, left = remove(paths)
    for out in left:
        print(f"{out} was left alone: a link leads there, or it lies outside of the project.")
    print(f"{len(deleted)} of the files and folders that the stages made were deleted.")


def inbox(args: argparse.Namespace, paths: Paths) -> None:
    """List the open windows of the inbox, export all, or take in labels."""
    from slimstream.watch.inbox import handoff
    from slimstream.watch.inbox.store import Store
    from slimstream.watch.settings import WatchParams

    store = Store(args.folder or paths.root / WatchParams().folder / "inbox")
    if args.does == "export":
        print(f"{handoff.export(store, args.to, args.out)} windows are in {args.out}.")
    elif args.does == "import":
        print(handoff.import_labels(store, args.file))
    else:
        print(handoff.listed(store))


def folds(args: argparse.Namespace, paths: Paths) -> None:
    """Run the leave-one-group-out folds and print their table."""
    from slimstream.experiments.folds import run_folds

    params = load_params(paths.params)
    asked = {name: getattr(args, name) for name in ("inner", "only", "jobs", "keep", "count")}
    print(run_folds(params, paths, **asked))


def process(args: argparse.Namespace, paths: Paths) -> None:
    """Evaluate classical models on sensor logs and print the table."""
    from slimstream.sensors.settings import SensorRecipe, load_recipe
    from slimstream.sensors.table import evaluate_logs

    settings = load_recipe(args.recipe) if args.recipe else SensorRecipe()
    print(evaluate_logs(settings, args.log, args.out or paths.root / "reports/process.csv"))


def tables(args: argparse.Namespace, paths: Paths) -> int:
    """Run the tables of papers and print them. Returns 1 when a row failed."""
    from slimstream.experiments.tables.asked import Asked, check_folder
    from slimstream.experiments.tables.run import check_request, run_tables
    from slimstream.experiments.tables.spec import listing, load_specs

    specs = load_specs(args.paper, paths)
    if args.list:
        print("\n\n".join(listing(spec, args.budget) for spec in specs))
        return 0
    if len(specs) > 1 and (args.table or args.row):
        raise UserError("--table and --row belong to one paper: name it instead of 'all'.")
    if len(specs) > 1 and args.source and not args.pictures:
        asks = ", ".join(spec.paper for spec in specs if spec.pictures)
        raise UserError(f"{asks} looks at pictures: name them with --pictures, beside --source's videos.")
    for source in filter(None, (args.source, args.pictures)):
        check_folder(source, paths)
    options = ("replicates", "folds", "as_printed", "seeds", "hours", "quick", "anew")
    own = {name: getattr(args, name) for name in options}
    asked = [
        Asked(source=args.pictures or args.source if spec.pictures else args.source, **own) for spec in specs
    ]
    for spec, wish in zip(
        specs, asked, strict=True
    ):  # before any work: a mistake in the last is found at once
        check_request(spec, paths, args.table, args.row, args.budget, wish)
    failed = 0
    for spec, wish in zip(specs, asked, strict=True):
        said, broken = run_tables(spec, paths, args.table, args.row, args.budget, wish, args.jobs)
        print(said)
        failed += broken
    return 1 if failed else 0
