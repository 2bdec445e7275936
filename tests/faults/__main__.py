"""Kill things at random moments of real retrainings and write down what became of each.

    python -m tests.faults --runs 32 --folder /var/tmp/faults

Every run trains the same network on the same clips. So whatever was killed, there must be one version in the
registry at the end, that of a run nobody disturbed: a half-written file that is taken for a whole one, a lost
clip or a lost state would make another.
"""

import argparse
import csv
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from uuid import UUID

from tests.faults.box import KINDS, Box, box

EARLY = ("s3",)
"""What is needed only as long as clips are fetched."""
FREE = 120.0
"""Seconds that the slot of a run whose process died may be taken."""


@dataclass
class Fate:
    """What became of one run."""

    number: int
    kind: str
    killed: str
    after: float
    """Seconds from the begin of the run to the kill."""
    ended: str
    """State of the run; of one that did not complete, of the run that was asked for afterwards, too."""
    seconds: float
    """From the kill to the free slot."""
    left: str
    """What was wrong afterwards; empty when nothing was."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Kill parts of a plant.")
    parser.add_argument("--runs", type=int, default=32, help="disturbed runs in all (default: 32)")
    parser.add_argument(
        "--folder", type=Path, required=True, help="an empty one; the user postgres enters it"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=KINDS, help="what to kill (default: all)"
    )
    parser.add_argument("--queue", type=int, default=8, help="runs asked for at once at the end (default: 8)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave nothing behind, whoever ends us
    with box(args.folder) as plant:
        plant.services("up")
        with plant.kept():
            fates = campaign(plant, args.runs, args.kinds, random.Random(args.seed))
            print(queue(plant, args.queue), flush=True)
            clips, damaged = plant.clips()
            print(
                f"{clips} clips in the store, {damaged} damaged; {len(plant.networks())} versions", flush=True
            )
    return 1 if any(fate.left for fate in fates) else 0


def campaign(plant: Box, runs: int, kinds: Sequence[str], chance: random.Random) -> list[Fate]:
    """An undisturbed run, then the others; faults.csv grows with each."""
    begun = time.monotonic()
    first = plant.request(force=True)
    if not plant.until(first).is_completed():
        sys.exit(f"the undisturbed run ended {plant.state(first).name}: {plant.home.logs}")
    typical = time.monotonic() - begun
    want = plant.networks()
    print(f"undisturbed: {typical:.0f} s, version {want}", flush=True)
    fates = []
    with (plant.folder / "faults.csv").open("w") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Fate)])
        table.writeheader()
        for number in range(runs):
            kind = kinds[number % len(kinds)]
            moment = chance.uniform(1, 15 if kind in EARLY else 0.9 * typical)
            while not (fate := disturb(plant, number, kind, moment, want)).killed:
                moment = chance.uniform(1, moment)  # the run was over before
            fates.append(fate)
            table.writerow(asdict(fates[-1]))
            file.flush()
            print(asdict(fates[-1]), flush=True)
    return fates


def disturb(plant: Box, number: int, kind: str, moment: float, want: list[str]) -> Fate:
    """One retraining from the first stage on; `kind` is killed `moment` seconds after it began."""
    run = plant.request(force=True)
    plant.until(run, "Running")
    began = time.monotonic()
    time.sleep(moment)
    killed = ""
    while not killed and not plant.state(run).is_final():  # between two stages there is none
        killed = plant.kill(kind, run)
    after, at = time.monotonic() - began, time.monotonic()
    state = plant.until(run)
    while plant.slots() and time.monotonic() - at < 300:
        time.sleep(1)
    seconds = time.monotonic() - at
    ended, left = state.name, wrong(plant, run)
    if state.is_crashed() and seconds > FREE:
        left.append(f"its slot was taken for {seconds:.0f} s")
    if not state.is_completed():
        again = plant.request()
        ended += f", then {plant.until(again).name}"
        left += wrong(plant, again)
    if not ended.endswith("Completed"):
        left.append("it did not complete")
    if plant.networks() != want:
        left.append(f"versions {plant.networks()}")
    return Fate(number, kind, killed, round(after, 1), ended, round(seconds, 1), "; ".join(left))


def wrong(plant: Box, run: UUID) -> list[str]:
    """What an ended run must not leave."""
    found = []
    deadline = time.monotonic() + 60
    while (alive := plant.processes(run)) and time.monotonic() < deadline:
        time.sleep(1)
    if alive:
        found.append(f"{len(alive)} processes live on")
    if (damaged := plant.clips()[1]) > 0:
        found.append(f"{damaged} clips of the store are damaged")
    return found


def queue(plant: Box, count: int) -> str:
    """Ask for `count` retrainings at once: all are done, one after another."""
    wanted = [plant.request() for _ in range(count)]
    most, states = 0, [plant.state(run) for run in wanted]
    while not all(state.is_final() for state in states):
        most = max(most, sum(state.is_running() for state in states))
        time.sleep(1)
        states = [plant.state(run) for run in wanted]
    done = sum(state.is_completed() for state in states)
    return f"{count} asked for at once: {done} completed, at most {most} at a time"


if __name__ == "__main__":
    sys.exit(main())
