"""`python -m slimstream COMMAND`: the argument parser and error messages; `commands` does the work."""

import argparse
import sys
from pathlib import Path

from slimstream.cli import bundles, commands, serving, torchrun
from slimstream.cli.exits import call
from slimstream.cli.serving import positive
from slimstream.core.errors import Unavailable, UserError
from slimstream.core.paths import Paths
from slimstream.core.proxy import bypass_for_loopback
from slimstream.core.threads import use_passive_waiting
from slimstream.pipeline.stages import STAGES
from slimstream.tracking.address import store_sentence

WITHOUT_REGISTRY = ("models", "clean", "folds", "inbox", "process", "tables", "verify")
"""Commands that neither record runs nor read versions; all others say where the registry is."""
SENSORS_HELP = """\
A log is a CSV file with a row per moment, numeric sensor columns and a column that names the plant's state:

  time,flow,pressure,label
  0,12.1,3.02,Normal
  1,12.2,3.01,Normal

A recipe says what its columns are called and how it is cut; what it leaves out keeps its default
(src/slimstream/sensors/settings.py describes every setting):

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
    """Run one command. Returns 0, the status of a UserError, 2 for an OSError, or 130 if interrupted."""
    args = _parser().parse_args(argv)
    paths = Paths(args.root)
    bypass_for_loopback()  # MLflow and S3 may be on this machine
    use_passive_waiting()  # also in processes that a stage starts

    def work() -> int | None:
        if args.command not in WITHOUT_REGISTRY and torchrun.is_main_process():
            _tell_store(args.command, paths)
        status: int | None = args.run(args, paths)
        return status

    status = call(args.command, work, paths.root)
    if status in (UserError.status, Unavailable.status):
        torchrun.let_main_report()
    return status


def _tell_store(command: str, paths: Paths) -> None:
    if sentence := store_sentence(paths):
        print(f"slimstream {command}: {sentence}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m slimstream",
        description="From labelled video to a small, registered diagnosis model. "
        "`make run` and `dvc repro` call the stages in order; each can be run alone.",
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), help="folder that holds params.yaml (default: here)"
    )
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str, run: object) -> argparse.ArgumentParser:
        command = choices.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.set_defaults(run=run)
        return command

    scan = add("scan", "list the source into source.lock.json, so that new clips are seen", commands.scan)
    scan.add_argument(
        "--source", help="a folder, s3://bucket/prefix or a simulated plant (default: params.yaml)"
    )
    scan.add_argument("--dry-run", action="store_true", help="say what is new and write nothing")
    scan.add_argument("--json", action="store_true", help="for programs")
    for stage in STAGES.values():
        add(stage.name, stage.help, commands.stage)
    models = add("models", "list every network with its parameters and multiply-accumulates", commands.models)
    models.add_argument("--json", action="store_true", help="for programs")
    models.add_argument(
        "--evaluated", action="store_true", help="those of the last run instead: score, time and size"
    )
    models.add_argument("--classes", type=positive, default=3, help="number of classes (default: 3)")
    models.add_argument(
        "--frames", type=positive, default=1, help="frames per clip that MACs are counted for (default: 1)"
    )
    publish = add(
        "publish", "register the compressed model and let the gate decide on `champion`", commands.publish
    )
    publish.add_argument("--no-promote", action="store_true", help="register, but leave the champion alone")
    promote = add("promote", "make a registered version the champion by hand", commands.promote)
    promote.add_argument("version", type=int, help="its number; `versions` lists them")
    promote.add_argument("--force", action="store_true", help="although the gate refused it")
    promote.add_argument("--name", help="registered model (default: params.yaml)")
    check = add(
        "evaluate-champion",
        "evaluate the champion on fresh labelled clips: has its score dropped?",
        commands.evaluate_champion,
    )
    check.add_argument("--source", required=True, help="where they are: a folder or s3://bucket/prefix")
    for name, text, run in (
        ("rollback", "make the previous champion the champion again", commands.rollback),
        ("versions", "list the registered versions", commands.versions),
    ):
        add(name, text, run).add_argument("--name", help="registered model (default: params.yaml)")
    gc = add(
        "gc", "say what no registered version, branch or checkout needs any more; delete it", commands.gc
    )
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
    add("clean", "delete the outs that dvc.yaml names and the report, nothing else", commands.clean)
    serving.add_commands(add)
    bundles.add_commands(add)
    inbox = add(
        "inbox", "list, hand out and take in the doubtful windows that watch has kept", commands.inbox
    )
    inbox.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="the inbox (default: watched/inbox, as watch's)"
    )
    does = inbox.add_subparsers(dest="does", metavar="WHAT")
    does.add_parser("list", help="what is open, the likeliest most useful first (default)")
    export = does.add_parser("export", help="write all windows for a labelling tool")
    export.add_argument("--to", choices=("label-studio", "cvat"), required=True, help="which tool")
    export.add_argument("out", type=Path, metavar="OUT", help="a folder that is not there yet")
    take = does.add_parser("import", help="label windows as an export of such a tool says")
    take.add_argument("file", type=Path, metavar="FILE", help="JSON of Label Studio, XML or ZIP of CVAT")
    folds = add(
        "folds", "leave one group out at a time: the honest number for a handful of cameras", commands.folds
    )
    folds.add_argument(
        "--inner", action="store_true", help="folds within each fold's training groups: choose settings here"
    )
    folds.add_argument("--only", help="this group alone")
    folds.add_argument(
        "--count", type=positive, help="put whole groups together into so many folds (default: one a group)"
    )
    _add_jobs(folds)
    folds.add_argument(
        "--keep",
        action="store_true",
        help="use what other code has made, and mark it, instead of making it again",
    )
    process = add(
        "process",
        "evaluate PCA, SVM and random forest on sensor logs, split by blocks of time",
        commands.process,
    )
    process.formatter_class, process.epilog = argparse.RawDescriptionHelpFormatter, SENSORS_HELP
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
    tables = add(
        "tables",
        "run a paper's tables on its simulated plant or on your clips, every row by the same budget",
        commands.tables,
    )
    tables.add_argument("paper", help="p1, p2 or p3: a file of recipes/tables; or all")
    tables.add_argument("--table", help="this table alone")
    tables.add_argument(
        "--row", action="append", default=[], help="this row alone, by its name; may be given several times"
    )
    tables.add_argument(
        "--budget", default="cpu", help="cpu (two cores), paper (as printed) or another of its file"
    )
    tables.add_argument(
        "--source", help="a folder or s3://bucket/prefix (default: the paper's simulated plant)"
    )
    tables.add_argument("--pictures", help="the source of tables on pictures, where all papers are run")
    protocol = tables.add_mutually_exclusive_group()
    protocol.add_argument(
        "--replicates", type=int, help="simulated plants of new clips, per row (default: as the file says)"
    )
    protocol.add_argument(
        "--folds",
        type=int,
        help="leave out whole groups, in so many folds at most (default: as the file says)",
    )
    protocol.add_argument(
        "--as-printed",
        action="store_true",
        help="random splits of real clips, as the papers split; flatters: same scenes in training and test",
    )
    tables.add_argument("--seeds", type=int, help="trainings per row and fold (default: as the row says)")
    tables.add_argument(
        "--hours",
        type=float,
        help="begin nothing new in a paper after so many hours; in time that is left, run more replicates of "
        "the rows of claims that are not decided",
    )
    tables.add_argument(
        "--quick",
        action="store_true",
        help="one replicate of tiny data and one epoch, in reports/quick: does every row run?",
    )
    tables.add_argument(
        "--anew",
        action="store_true",
        help="run again what other code has made, instead of taking it from docs/results",
    )
    _add_jobs(tables)
    tables.add_argument("--list", action="store_true", help="name tables and rows, run nothing")
    return parser


def _add_jobs(command: argparse.ArgumentParser) -> None:
    """Add the option of `experiments.runner`."""
    command.add_argument(
        "--jobs",
        type=int,
        help="stages at once: as many as cores where a GPU is (default: 1; with SLIMSTREAM_DASK one a thread "
        "of the cluster's workers)",
    )
