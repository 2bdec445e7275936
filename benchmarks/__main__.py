"""`python -m benchmarks [PART …]`: run them and print one table, or write it into benchmarks/README.md."""

import argparse
import importlib
import os
from inspect import signature
from pathlib import Path

from benchmarks.compare import Result
from slimstream.core.threads import use_passive_waiting

PARTS = (
    *("extract", "decoding", "load", "training", "inference", "pruned", "students"),
    *("diagnosis", "slim", "search", "int8", "watch", "endurance", "drift", "busy", "overhead"),
)
BEGIN, END = "<!-- measured: written by python -m benchmarks --demo --write -->", "<!-- measured: end -->"


HEAD = """\
| part | ours | against | ratio | rounds from – to | at most | |
|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--demo", action="store_true", help="also the whole demo, twice: ten minutes")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    parser.add_argument(
        "--source",
        type=Path,
        metavar="FOLDER",
        help="clips for diagnosis, slim and search; default: rendered",
    )
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if args.write and args.parts:
        parser.error("--write is for the whole table: leave the parts out")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and OpenCV are imported
    use_passive_waiting()
    import torch

    torch.set_num_threads(1)
    results = []
    for part in args.parts or PARTS:
        print(part, flush=True)
        module = importlib.import_module(f"benchmarks.{part}")
        given = {"demo": args.demo, "source": args.source}
        wanted = signature(module.run).parameters
        results += module.run(**{name: given[name] for name in wanted})
    table = "\n".join([HEAD, *map(row, results)])
    print(table)
    if args.write:
        page = Path(__file__).with_name("README.md")
        text = page.read_text()
        head, tail = text.split(BEGIN)[0], text.split(END)[1]
        page.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}")


def row(r: Result) -> str:
    verdict = {True: "reached", False: "**missed**", None: ""}[r.reached]
    said = "; ".join(filter(None, [verdict, r.note]))
    most = "" if r.most is None else f"{r.most:.2f}"
    rounds = f"{r.low:.3f} – {r.high:.3f}"
    return f"| {r.part} | {r.ours} | {r.peer} | **{r.ratio:.3f}** | {rounds} | {most} | {said} |"


if __name__ == "__main__":
    main()
