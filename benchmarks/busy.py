"""Time of a training step and of the stage `baseline` beside two other busy processes.

Everything runs on two cores, even if the machine has more. How a library's threads wait is fixed when it is
loaded, so each way of waiting is measured in its own process, `python -m benchmarks.busy step`, in turns.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from benchmarks.compare import Call, Result, compare_times
from benchmarks.overhead import ROOT, run_command
from benchmarks.project import QUIET, split_project, stage_command
from slimstream.core.threads import use_passive_waiting

STEPS = 2
"""Number of training steps per measurement."""
SPINNING = {
    "GOMP_SPINCOUNT": "300000",
    "OPENBLAS_THREAD_TIMEOUT": "26",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER": "2000",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN": "10000",
}
"""The libraries' defaults for waiting threads. GOMP_SPINCOUNT has priority over OMP_WAIT_POLICY."""
CLIPS = {"recordings": 4, "clips": 4, "seconds": 2.0}


def run() -> list[Result]:
    threads = {"OMP_NUM_THREADS": "2"}
    with ExitStack() as stack:
        stack.enter_context(_two_cores())
        others = [stack.enter_context(_process("spin")) for _ in range(2)]
        for other in others:
            other.send_signal(SIGSTOP)
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        project = split_project(root, "rig", {"ingest": {"rig": CLIPS}})

        def beside(call: Call) -> Call:
            """`call` while the others run."""

            def called() -> None:
                for other in others:
                    other.send_signal(SIGCONT)
                try:
                    call()
                finally:
                    for other in others:
                        other.send_signal(SIGSTOP)

            return called

        def steps(**env: str) -> Call:
            return _asked(stack.enter_context(_process("step", threads | env)))

        def baseline(**env: str) -> Call:
            command = stage_command(project, "baseline")
            return lambda: run_command(command, ROOT, **QUIET, **threads, **env)

        results = []
        for what, rounds, ours, spinning in (
            ("two training steps", 5, steps(), steps(**SPINNING)),
            ("baseline", 3, baseline(), baseline(**SPINNING)),
        ):
            idle, busy = (what, ours), (f"{what}, beside two busy processes", beside(ours))
            theirs = "threads that spin"
            results += [
                compare_times(
                    "busy", busy, ("idle machine", ours), most=2.5, rounds=rounds, note="two cores"
                ),
                compare_times("busy", busy, (theirs, beside(spinning)), rounds=rounds),
                compare_times(
                    "busy", idle, (theirs, spinning), most=1.02, rounds=rounds, note="idle machine"
                ),
            ]
    return results


@contextmanager
def _two_cores() -> Iterator[None]:
    """Within the block, started processes run on two cores, if the system supports it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_of_them)[:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


@contextmanager
def _process(what: str, env: dict[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Run this module as a process; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.busy", what],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "src"} | (env or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def _asked(process: "subprocess.Popen[str]") -> Call:
    """A function that lets `process` do its work once and waits for its answer."""
    assert process.stdin and process.stdout
    request, answer = process.stdin, process.stdout

    def asked() -> None:
        request.write("go\n")
        request.flush()
        assert answer.readline() == "done\n"

    return asked


def _steps() -> None:
    """Do STEPS training steps for each line of the standard input."""
    import torch

    from benchmarks.training import CLASSES, epoch, random_batches
    from slimstream.models import create_model
    from slimstream.training.objectives import CrossEntropy

    torch.manual_seed(0)
    work = epoch(
        create_model("two_stream_mobilevit", CLASSES),
        CrossEntropy(torch.ones(CLASSES)),
        random_batches(STEPS),
    )
    for _ in sys.stdin:
        work()
        print("done", flush=True)


def main(what: str) -> None:
    use_passive_waiting()
    if what == "step":
        _steps()
    while what == "spin":
        pass


if __name__ == "__main__":
    main(sys.argv[1])
