"""Runs the steps of an experiment in the order of their dependencies, on this machine or on a Dask cluster.

A step is done when its file exists, so an experiment that was killed continues where it stopped. If a step
fails, only the steps that need it are skipped. The heavy part of a step is a separate process
(`run_command`): if that is killed, for example because memory is short, only this step fails.

graphlib gives the order; threads of concurrent.futures wait for the processes. With SLIMSTREAM_DASK the
threads of the cluster's workers wait; the workers must see the same files under the same paths.
"""

import heapq
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
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
"""Seconds between checks for new workers of the cluster."""


class Step(Protocol):
    """One step of an experiment. It is picklable and has absolute paths: it may run on another machine."""

    @property
    def makes(self) -> Path:
        """The file that exists when the step is done."""

    @property
    def needs(self) -> Sequence[Path]:
        """Files of other steps that must exist before; files that no step makes are not checked."""

    @property
    def alike(self) -> str:
        """Name of a kind of step; steps of one kind take similar time."""

    def seconds(self) -> float | None:
        """Time that the finished step took; None when unknown."""

    def run(self, quietly: bool, cores: int | None) -> None:
        """Make the file, with at most `cores` cores if given. If `quietly`, output goes to a log file.

        Raises UserError, RuntimeError or OSError when the step fails; any other exception is a bug.
        """


S = TypeVar("S", bound=Step)


@dataclass(frozen=True)
class StepResult(Generic[S]):
    """A step that was run, or that was skipped because a step it needs has failed."""

    step: S
    error: str
    """Why it failed; "" when it is done."""
    left: str
    """The remaining work, as text."""


class TimeLeft:
    """Estimate of the remaining time, from the time that finished steps of the same kind took."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._open: dict[Path, str] = {}
        self._took: dict[str, list[float]] = defaultdict(list)
        for step in {step.makes: step for step in steps}.values():
            if step.makes.exists():
                self.record(step, step.seconds())
            else:
                self._open[step.makes] = step.alike

    def record(self, step: Step, seconds: float | None) -> None:
        """Record that `step` has ended after `seconds`, or has failed (None)."""
        self._open.pop(step.makes, None)
        if seconds is not None:
            self._took[step.alike].append(seconds)

    def message(self, at_once: int) -> str:
        """A text such as "12 steps left, about 34 min", if `at_once` steps run in parallel."""
        said = f"{len(self._open)} step{'s' * (len(self._open) != 1)} left"
        if not self._took or not self._open:
            return said
        known = {alike: mean(took) for alike, took in self._took.items()}
        typical = mean(known.values())
        seconds = sum(known.get(alike, typical) for alike in self._open.values())
        return f"{said}, about {max(1, round(seconds / 60 / min(at_once, len(self._open))))} min"


def run_steps(steps: Iterable[S], jobs: int | None = None) -> Generator[StepResult[S], None, None]:
    """Run the unfinished `steps`, earlier ones first, `jobs` at once; yield each when it has ended.

    The default of `jobs` is one on this machine, and with SLIMSTREAM_DASK the number of the workers' threads.
    Raises UserError for `jobs` below 1, and when the cluster cannot be used.
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
    """Raise UserError when `jobs` is below 1."""
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs}: at least one step is run at once.")


def run_command(command: Sequence[str], log: Path | None, cores: int | None, lock: int, **env: str) -> float:
    """Run `command` with the variables `env` added to this process's environment; return its seconds.

    Its output goes to the file `log`, if given. It inherits the file descriptor `lock`. `cores` limits its
    OpenMP threads. Raises UserError when its exit status is not 0.
    """
    start = time.perf_counter()
    environment: Mapping[str, str] = {**os.environ, **env}
    if cores is not None:
        environment = {"OMP_NUM_THREADS": str(cores), **environment}
    # Without SLIMSTREAM_DASK: the process would wait for the worker that waits for this process.
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
    """Starts steps, on this machine or on a cluster."""

    count: Callable[[], int]
    """Number of steps that can run at once."""
    submit: Callable[[Any], Future[float]]
    """Starts a step; the future gives its seconds."""


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
    """The common parent folder of all steps' files."""
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
    """`_timed` in a worker of the cluster. Raises WrongWorker when its files or its code are not ours."""
    from distributed import get_worker

    worker = f"the Dask worker {get_worker().address}"
    if not seen.exists():
        raise WrongWorker(f"{worker} does not see {seen}: give it the same file system under the same path.")
    if code_key([PACKAGE]) != code:
        raise WrongWorker(f"{worker} has other code: give it this checkout.")
    return _timed(step, True, None)


def _outcome(future: Future[float]) -> tuple[float | None, str]:
    """The seconds that a step took, or why it failed. Exceptions that are bugs are raised."""
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
    """Runs submitted functions at once, in the calling thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
