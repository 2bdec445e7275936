"""Carry out steps, several at once, each when those it needs are done."""

import heapq
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from slimstream.core.errors import UserError
from slimstream.experiments.tables.cells import Step


def carry_out(steps: Iterable[Step], jobs: int) -> Iterator[tuple[Step, str]]:
    """Run what is not there yet, the earlier first; yield each step that ended, and why it failed or "".

    What goes on from a failed step fails with it; the others are still worth their while. With several
    `jobs` each step has a process, and what it says is kept in a file.
    """
    work: dict[Path, Step] = {}
    for step in steps:
        if not step.makes.exists():
            work.setdefault(step.makes, step)
    rank = {makes: number for number, makes in enumerate(work)}
    graph = {makes: [file for file in step.needs if file in work] for makes, step in work.items()}
    order, ready, failed = TopologicalSorter(graph), list[tuple[int, Path]](), dict[Path, str]()
    order.prepare()
    running: dict[Future[None], Path] = {}
    with _pool(jobs) as pool:
        while order.is_active():
            for makes in order.get_ready():
                heapq.heappush(ready, (rank[makes], makes))
            while ready and len(running) < jobs:
                _, makes = heapq.heappop(ready)
                if why := next((failed[file] for file in graph[makes] if file in failed), ""):
                    failed[makes] = why
                    order.done(makes)
                    yield work[makes], why
                    continue
                running[pool.submit(work[makes].run, jobs > 1)] = makes
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                makes = running.pop(future)
                if why := _error(future):
                    failed[makes] = why
                order.done(makes)
                yield work[makes], why


def _error(future: Future[None]) -> str:
    """What a row may die of; anything else is a fault of ours, and raised."""
    try:
        future.result()
    except BrokenExecutor as error:
        raise UserError(
            "a process was killed, for want of memory? Take fewer --jobs; run again to go on."
        ) from error
    except (UserError, RuntimeError) as error:
        return str(error)
    return ""


def _pool(jobs: int) -> Executor:
    if jobs == 1:
        return Here()
    # A fork would inherit the threads of whatever was computed before.
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, spawn, _share, (max(1, (os.cpu_count() or 1) // jobs),))


def _share(threads: int) -> None:
    """Have what this process starts leave the other cores to its neighbours."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


class Here(Executor):
    """No process: what is submitted is run at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
