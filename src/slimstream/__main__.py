"""`python -m slimstream COMMAND`: read params.yaml, open tracking, call the stage.

Nothing heavy is imported before a command is known, so `--help` answers at once.
"""

import argparse
import importlib
import json
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path

from slimstream import launch
from slimstream.errors import UserError
from slimstream.machines import processes
from slimstream.params import RUNTIMES, Params, load_params
from slimstream.paths import Paths

STAGES = {
    "ingest": "fetch the clips that source.lock.json lists and write the manifest",
    "validate": "decode every clip, quarantine bad ones, find twins and shortcuts, write Data Docs",
    "extract": "pack RGB frames and dense optical flow, in step",
    "split": "part the clips into train, val and test by groups",
    "baseline": "frozen ImageNet features with logistic regression: the bar to clear",
    "train": "train the network of params.yaml",
    "teachers": "train the networks that only teach, if the recipe has any",
    "prune": "remove the channels that matter least, then fine-tune",
    "sweep": "prune at several rates and show what each costs and saves, if the recipe names any",
    "distill": "let a small network learn from the original and the teachers, beside its λ = 0 control",
    "refit": "let the heads of all models learn from the validation clips too, if the recipe says so",
    "export": "write all models in their deployed forms, check and time each, choose the fastest",
    "evaluate": "judge all models on the test clips in their deployed form, write the report",
}

PROCESS_HELP = """\
A log is a CSV file with a row per moment, numeric sensor columns and a column that names the plant's state:

  time,flow,pressure,label
  0,12.1,3.02,Normal
  1,12.2,3.01,Normal

A recipe says what its columns are called and how it is cut; what it leaves out keeps its default
(src/slimstream/process/settings.py describes every setting):

  label: label       # the column of states
  time: time         # omit it when rows are `period` seconds apart
  normal: Normal     # the faultless state: switches the T² and Q detector on
  window: 60         # seconds
  block: 300         # seconds that stay on one side of a split

  python -m slimstream process --log monday.csv tuesday.csv --recipe recipes/process/pronto.yaml

Three splits are shown: `blocks` leaves out stretches of time, `runs` whole runs of one state, and `random`
scatters windows, which flatters and stands there as a warning. Settings are chosen on training blocks alone.
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 when it succeeded, else the status of a UserError."""
    args = _parser().parse_args(argv)
    paths = Paths(args.root)
    # A stage that is asked to stop ends as if interrupted: its run is closed, nothing is left half-written.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(args.run(args, paths) or 0)
    except UserError as error:
        print(f"slimstream {args.command}: {error}", file=sys.stderr)
        launch.let_first_speak()
        return error.status
    except OSError as error:
        # No space, no permission: the system's own words and the file say more than a traceback.
        if error.filename is None and error.errno is None:
            raise
        where, mend = error.filename or paths.root, "; mend it and run again, what is finished is kept."
        print(f"slimstream {args.command}: {error.strerror}: {where}{mend}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"slimstream {args.command}: interrupted; run it again to go on.", file=sys.stderr)
        return 130


def _stage(args: argparse.Namespace, paths: Paths) -> int:
    from slimstream.tracking import TRAINING, NullRun, stage_run

    params = load_params(paths.params)
    if not launch.by_torchrun():
        if args.command in TRAINING and processes() > 1:
            return launch.together(args.command, args.root, processes())
        ours: AbstractContextManager[None] = nullcontext()
    elif args.command in TRAINING:
        launch.follow_launcher()
        from slimstream.learn.ranks import joined

        ours = joined()
    else:
        raise UserError(f"torchrun is for {', '.join(sorted(TRAINING))}; run this stage without it.")
    first = launch.is_first()
    stage = importlib.import_module(f"slimstream.stages.{args.command}")
    with ours, stage_run(args.command, params, paths) if first else nullcontext(NullRun()) as run:
        metrics = stage.run(params, paths, run.log)
        if first:
            run.log(metrics, 0)
            _write_json(paths.metrics(args.command), metrics)
            _write_json(paths.run(args.command), {"run_id": run.run_id})
    return 0


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _scan(args: argparse.Namespace, paths: Paths) -> None:
    from slimstream.data.packs import check_flow
    from slimstream.data.scan import read_lock, scan
    from slimstream.stages.distill import check_teachers
    from slimstream.stages.objective import check_trainings

    params = load_params(paths.params)
    # What cannot come out right is said here, before anything is fetched.
    check_trainings(params)
    result = scan(params, paths, args.source, write=not args.dry_run)
    print(json.dumps(asdict(result)) if args.json else result)
    if args.dry_run:
        return
    items = read_lock(paths.source_lock).listing.items
    check_teachers(params, paths, sorted({item.label for item in items}))
    check_flow((item.key for item in items), params.extract)


def _models(args: argparse.Namespace, paths: Paths) -> None:
    from slimstream.learn.cost import measure
    from slimstream.models.table import model_table, render

    params = load_params(paths.params) if paths.params.exists() else Params()
    rows = model_table(args.classes, params.extract.size, args.frames, measure)
    print(json.dumps(rows, indent=2) if args.json else render(rows))


def _publish(args: argparse.Namespace, paths: Paths) -> int:
    from slimstream.registry import publish

    outcome = publish(load_params(paths.params), paths, promote=not args.no_promote)
    print(outcome)
    return 0


def _rollback(args: argparse.Namespace, paths: Paths) -> None:
    from slimstream.registry import rollback

    print(rollback(args.name or load_params(paths.params).publish.name, paths))


def _promote(args: argparse.Namespace, paths: Paths) -> None:
    from slimstream.registry import promote

    print(promote(args.name or load_params(paths.params).publish.name, args.version, paths, args.force))


def _evaluate_champion(args: argparse.Namespace, paths: Paths) -> None:
    from slimstream.monitor import evaluate_champion

    print(evaluate_champion(load_params(paths.params), paths, args.source))


def _versions(args: argparse.Namespace, paths: Paths) -> None:
    from slimstream.registry import names, versions

    name = args.name or load_params(paths.params).publish.name
    if len(table := versions(name, paths)):
        print(table.to_string(index=False))
    elif others := names(paths):
        print(f"Nothing is registered as {name} yet; there is --name {', '.join(others)}.")
    else:
        print("Nothing is registered yet: run `make demo`.")


def _gc(args: argparse.Namespace, paths: Paths) -> None:
    from slimstream.retention import collect

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


def _predict(args: argparse.Namespace, paths: Paths) -> int:
    from slimstream.predict import deployed_model, files_in, predict

    files = files_in(args.files)
    model = deployed_model(args.model or load_params(paths.params).publish.name, paths)
    table = predict(files, model, args.runtime, batch=args.batch, workers=args.workers)
    said = table.to_json(orient="records", indent=2) if args.json else table.to_csv(index=False)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(said)
    else:
        print(said, end="" if said.endswith("\n") else "\n")
    bad = table[table["label"].isna()]
    for row in bad.itertuples():
        print(f"slimstream predict: {row.path}: {row.error}", file=sys.stderr)
    return 1 if len(bad) else 0


def _folds(args: argparse.Namespace, paths: Paths) -> None:
    from slimstream.folds import run_folds

    print(run_folds(load_params(paths.params), paths, inner=args.inner, only=args.only))


def _process(args: argparse.Namespace, paths: Paths) -> None:
    from slimstream.process.settings import Process, load_process
    from slimstream.process.table import run

    settings = load_process(args.recipe) if args.recipe else Process()
    print(run(settings, args.log, args.out or paths.root / "reports/process.csv"))


def _tables(args: argparse.Namespace, paths: Paths) -> int:
    from slimstream.tables.run import run_tables
    from slimstream.tables.spec import listing, load_specs

    specs = load_specs(args.paper, paths)
    if args.list:
        print("\n\n".join(listing(spec, args.budget) for spec in specs))
        return 0
    if len(specs) > 1 and (args.table or args.row):
        raise UserError("--table and --row belong to one paper: name it instead of 'all'.")
    failed = 0
    for spec in specs:
        source = args.pictures or args.source if spec.pictures else args.source
        said, broken = run_tables(
            spec, paths, args.table, args.row, args.budget, args.seeds, source, args.jobs
        )
        print(said)
        failed += broken
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m slimstream",
        description="From labelled video to a small, registered diagnosis model. "
        "`make run` and `dvc repro` call the stages in order; each can be run alone.",
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), help="folder that holds params.yaml (default: here)"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str, run: object) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.set_defaults(run=run)
        return command

    scan = add("scan", "list the source into source.lock.json, so that new clips are seen", _scan)
    scan.add_argument("--source", help="'rig', a folder, or s3://bucket/prefix (default: params.yaml)")
    scan.add_argument("--dry-run", action="store_true", help="say what is new and write nothing")
    scan.add_argument("--json", action="store_true", help="for programs")
    for name, text in STAGES.items():
        add(name, text, _stage)
    models = add("models", "list every network with its parameters and multiply-accumulates", _models)
    models.add_argument("--json", action="store_true", help="for programs")
    models.add_argument("--classes", type=int, default=3, help="number of classes (default: 3)")
    models.add_argument(
        "--frames", type=int, default=1, help="frames per clip that MACs are counted for (default: 1)"
    )
    publish = add("publish", "register the compressed model and let the gate decide on `champion`", _publish)
    publish.add_argument("--no-promote", action="store_true", help="register, but leave the champion alone")
    promote = add("promote", "make a registered version the champion by hand", _promote)
    promote.add_argument("version", type=int, help="its number; `versions` lists them")
    promote.add_argument("--force", action="store_true", help="although the gate refused it")
    promote.add_argument("--name", help="registered model (default: params.yaml)")
    check = add(
        "evaluate-champion",
        "let the champion judge fresh labelled clips: has it dropped?",
        _evaluate_champion,
    )
    check.add_argument("--source", required=True, help="where they are: a folder or s3://bucket/prefix")
    for name, text, run in (
        ("rollback", "make the previous champion the champion again", _rollback),
        ("versions", "list the registered versions", _versions),
    ):
        add(name, text, run).add_argument("--name", help="registered model (default: params.yaml)")
    gc = add("gc", "say what no registered version, branch or checkout needs any more; delete it", _gc)
    gc.add_argument("--yes", action="store_true", help="delete it; without, nothing is")
    gc.add_argument("--days", type=float, default=30, help="keep what is younger (default: 30)")
    gc.add_argument("--list", action="store_true", help="name every single thing")
    gc.add_argument(
        "--also",
        nargs="+",
        choices=("folds", "tables"),
        default=(),
        help="the finished folds or tables, too: hours of work, which are done again when asked for",
    )
    predict = add("predict", "let a deployed model judge clips: labels and probabilities", _predict)
    predict.add_argument("files", type=Path, nargs="+", metavar="CLIP", help="videos, pictures or folders")
    predict.add_argument(
        "--model",
        help="a registered model for its champion, NAME/VERSION, or exports/MODEL (default: params.yaml)",
    )
    predict.add_argument(
        "--runtime", choices=RUNTIMES, help="what runs it (default: what the export stage chose)"
    )
    predict.add_argument("--json", action="store_true", help="JSON instead of CSV")
    predict.add_argument("--out", type=Path, help="write there (default: the terminal)")
    predict.add_argument("--batch", type=int, default=32, help="pictures judged at once (default: 32)")
    predict.add_argument("--workers", type=int, default=0, help="processes (default: one a core)")
    folds = add("folds", "leave one group out at a time: the honest number for a handful of cameras", _folds)
    folds.add_argument(
        "--inner", action="store_true", help="folds within each fold's training groups: choose settings here"
    )
    folds.add_argument("--only", help="this group alone")
    process = add(
        "process", "judge PCA, SVM and random forest on sensor logs, split by blocks of time", _process
    )
    process.formatter_class, process.epilog = argparse.RawDescriptionHelpFormatter, PROCESS_HELP
    process.add_argument(
        "--log",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="CSV logs of one plant, in order of time",
    )
    process.add_argument("--recipe", type=Path, help="process recipe (default: the built-in settings)")
    process.add_argument("--out", type=Path, help="where the rows go (default: reports/process.csv)")
    tables = add("tables", "run a paper's tables on your clips, every row by the same budget", _tables)
    tables.add_argument("paper", help="p1, p2 or p3: a file of recipes/tables; or all")
    tables.add_argument("--table", help="this table alone")
    tables.add_argument("--row", help="this row alone, by its name")
    tables.add_argument(
        "--budget", default="cpu", help="cpu (two cores), paper (as printed) or another of its file"
    )
    tables.add_argument("--seeds", type=int, help="trainings per row and fold (default: as the row says)")
    tables.add_argument("--source", help="a folder or s3://bucket/prefix (default: the clips validated here)")
    tables.add_argument("--pictures", help="the source of tables on pictures, where all papers are run")
    tables.add_argument(
        "--jobs", type=int, default=1, help="trainings at once: as many as cores where a GPU is (default: 1)"
    )
    tables.add_argument("--list", action="store_true", help="name tables and rows, run nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
