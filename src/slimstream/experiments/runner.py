"""Runs the steps of an experiment, each as soon as those it needs are done: here, or on a Dask cluster.

A step is done when the file that it makes is there, so an experiment that was killed goes on where it
stopped. A step that fails takes along only those that need it. What is heavy in a step is a process of its
own (`run_command`): one that is killed, for want of memory say, is a step that failed and costs no other.

graphlib has the order, concurrent.futures the threads that wait for the processes. With SLIMSTREAM_DASK it is
the threads of the cluster's workers that wait for them; workers see the same files under the same paths.
"""

import heapq
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import mean
from typing import IO, Any, Generic, Protocol, TypeVar

from slimstream.core.cluster import connected, threads
from slimstream.core.environment import DASK_VARIABLE, dask_address
from slimstream.core.errors import UserError
from slimstream.core.fingerprint import PACKAGE, code_key
from slimstream.core.parallel import cores

LOOK_AGAIN = 30.0
"""Seconds after which is looked for workers that have joined."""


class Step(Protocol):
    """Can be pickled, and names files by absolute paths: it may be run on another machine."""

    @property
    def makes(self) -> Path:
        """The file that is there when the step is done."""

    @property
    def needs(self) -> Sequence[Path]:
        """What must be there before; files that no step makes are not asked for."""

    @property
    def alike(self) -> str:
        """Steps of the same name take about as long."""

    def seconds(self) -> float | None:
        """What the step took, once it is done; None where that is not known."""

    def run(self, quietly: bool, cores: int | None) -> None:
        """Make the file. `quietly`, what is said goes to a file; with `cores`, no more than so many are used.

        Raises UserError, RuntimeError or OSError when this step cannot be done; anything else is a fault of
        ours.
        """


S = TypeVar("S", bound=Step)


@dataclass(frozen=True)
class StepResult(Generic[S]):
    """A step that was run, or that was not because one it needs has failed."""

    step: S
    error: str
    """Why it failed; "" when it is done."""
    left: str
    """How much there is still to do, in words."""


class TimeLeft:
    """How long the open steps may take, by what finished ones of the same kind took."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._open: dict[Path, str] = {}
        self._took: dict[str, list[float]] = defaultdict(list)
        for step in {step.makes: step for step in steps}.values():
            if step.makes.exists():
                self.record(step, step.seconds())
            else:
                self._open[step.makes] = step.alike

    def record(self, step: Step, seconds: float | None) -> None:
        """`step` has ended: after `seconds`, or failed (None)."""
        self._open.pop(step.makes, None)
        if seconds is not None:
            self._took[step.alike].append(seconds)

    def message(self, at_once: int) -> str:
        """Such as "12 steps left, about 34 minutes" for so many steps at once."""
        said = f"{len(self._open)} step{'s' * (len(self._open) != 1)} left"
        if not self._took or not self._open:
            return said
        known = {alike: mean(took) for alike, took in self._took.items()}
        typical = mean(known.values())
        seconds = sum(known.get(alike, typical) for alike in self._open.values())
        return f"{said}, about {max(1, round(seconds / 60 / min(at_once, len(self._open))))} min"


def run_steps(steps: Iterable[S], jobs: int | None = None) -> Iterator[StepResult[S]]:
    """Run what is not done yet, the earlier first, `jobs` steps at once; yield each step when it has ended.

    Without `jobs` it is one step at a time on this machine, and as many as they have threads on the workers
    of SLIMSTREAM_DASK. Raises UserError for `jobs` below 1, and when the cluster cannot be used.
    """
    check_jobs(jobs)
    steps = list(steps)
    open_: dict[Path, S] = {}
    for step in steps:
        if not step.makes.exists():
            open_.setdefault(step.makes, step)
    if not open_:
        return
    left = TimeLeft(steps)
    rank = {makes: number for number, makes in enumerate(open_)}
    graph = {makes: [file for file in step.needs if file in open_] for makes, step in open_.items()}
    order, ready, failed = TopologicalSorter(graph), list[tuple[int, Path]](), dict[Path, str]()
    order.prepare()
    running: dict[Future[float], Path] = {}
    with _workers(jobs, open_) as workers:
        while order.is_active():
            for makes in order.get_ready():
                heapq.heappush(ready, (rank[makes], makes))
            at_once = workers.count()
            while ready and len(running) < at_once:
                _, makes = heapq.heappop(ready)
                if why := next((failed[file] for file in graph[makes] if file in failed), ""):
                    failed[makes] = why
                    order.done(makes)
                    left.record(open_[makes], None)
                    yield StepResult(open_[makes], why, left.message(at_once))
                else:
                    running[workers.submit(open_[makes])] = makes
            for future in wait(running, LOOK_AGAIN, FIRST_COMPLETED).done:
                makes = running.pop(future)
                seconds, why = _outcome(future)
                if why:
                    failed[makes] = why
                order.done(makes)
                left.record(open_[makes], seconds)
                yield StepResult(open_[makes], why, left.message(at_once))


def check_jobs(jobs: int | None) -> None:
    """Raise UserError when `jobs` is no number of steps that can be run at once."""
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs}: at least one step is run at once.")


def run_command(command: Sequence[str], log: Path | None, cores: int | None, lock: int, **env: str) -> float:
    """Run `command` with the variables `env` beside those of this process; return its seconds.

    What it says goes to the file `log`, if there is one; it inherits the file descriptor `lock`. Raises
    UserError when it does not end well.
    """
    start = time.perf_counter()
    environment: Mapping[str, str] = {**os.environ, **env}
    if cores is not None:
        environment = {"OMP_NUM_THREADS": str(cores), **environment}
    # A worker that waited for a process that waits for the same worker would do so for ever.
    environment = {name: value for name, value in environment.items() if name != DASK_VARIABLE}
    with log.open("w") if log else nullcontext() as out:
        code = _call(command, environment, out, lock)
    if code:
        killed = " (it was killed, for want of memory? Take fewer --jobs)" if code < 0 else ""
        raise UserError(f"exit status {code}{killed}{f', see {log}' if log else ''}; run again to go on.")
    return time.perf_counter() - start


def _call(command: Sequence[str], env: Mapping[str, str], out: IO[str] | None, lock: int) -> int:
    return subprocess.run(command, env=env, stdout=out, stderr=out, pass_fds=(lock,)).returncode


@dataclass(frozen=True)
class _Workers:
    """Whoever does the steps."""

    count: Callable[[], int]
    """How many steps at once."""
    submit: Callable[[Any], Future[float]]
    """Begin a step; its seconds come later."""


@contextmanager
def _workers(jobs: int | None, open_: Mapping[Path, Step]) -> Iterator[_Workers]:
    if address := dask_address():
        with _on_cluster(address, jobs, open_) as workers:
            yield workers
        return
    at_once = jobs or 1
    share = None if at_once == 1 else max(1, cores() // at_once)
    with _InlineExecutor() if at_once == 1 else ThreadPoolExecutor(at_once) as pool:
        yield _Workers(lambda: at_once, lambda step: pool.submit(_timed, step, at_once > 1, share))


@contextmanager
def _on_cluster(address: str, jobs: int | None, open_: Mapping[Path, Step]) -> Iterator[_Workers]:
    modules = {type(step).__module__ for step in open_.values()}
    with (
        connected(address, __name__, *sorted(modules)) as client,
        tempfile.NamedTemporaryFile(prefix="temporary-", dir=_folder_of(open_)) as seen,
    ):
        pool = client.get_executor(pure=False)
        do = partial(_timed_elsewhere, Path(seen.name), code_key([PACKAGE]))
        yield _Workers(lambda: jobs or threads(client), lambda step: pool.submit(do, step))


def _folder_of(open_: Mapping[Path, Step]) -> Path:
    """The folder that all of the steps' files lie in."""
    folder = Path(os.path.commonpath([makes.parent for makes in open_]))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _timed(step: Step, quietly: bool, share: int | None) -> float:
    start = time.perf_counter()
    step.run(quietly, share)
    return time.perf_counter() - start


class WrongWorker(Exception):
    """A worker that would not do the same work as this machine."""


def _timed_elsewhere(seen: Path, code: str, step: Step) -> float:
    """`_timed` in a worker of the cluster, unless it does not see our files or has other code."""
    from distributed import get_worker

    worker = f"the Dask worker {get_worker().address}"
    if not seen.exists():
        raise WrongWorker(f"{worker} does not see {seen}: give it the same file system under the same path.")
    if code_key([PACKAGE]) != code:
        raise WrongWorker(f"{worker} has other code: give it this checkout.")
    return _timed(step, True, None)


def _outcome(future: Future[float]) -> tuple[float | None, str]:
    """The seconds that a step took, or why it failed. What no step may fail of is raised."""
    try:
        return future.result(), ""
    except WrongWorker as error:
        raise UserError(str(error)) from error
    except (UserError, RuntimeError, OSError) as error:
        return None, str(error)
    except Exception as error:
        if type(error).__name__ == "KilledWorker":  # Dask is not imported where there is no cluster
            return None, "every Dask worker that took it died; run again to go on."
        raise


class _InlineExecutor(Executor):
    """No thread: what is submitted is run at once, and says what it says on the terminal."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
