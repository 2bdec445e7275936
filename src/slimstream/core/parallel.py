"""A parallel map with one process per core; an item that raises or kills its process affects no other item.

Decoders are C code that reads untrusted files, so a segmentation fault is treated as one bad input.
"""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class WorkerDied(RuntimeError):
    """The process that worked on an item died for an unknown reason."""


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(
    function: Callable[[T], R], items: Sequence[T], workers: int | None = None
) -> Iterator[tuple[int, R | Exception]]:
    """Yield (position in `items`, function(item)) in order of completion; an exception replaces a result.

    Processes are spawned, never forked, so `function` must be a module-level function, and items and results
    must be picklable. An item whose process dies yields `WorkerDied`; other items that were in progress are
    tried again. `workers` is the number of processes, by default one per core.
    """
    workers = min(workers or cores(), max(1, len(items)))
    waiting = deque(range(len(items)))
    while waiting:
        flying: dict[Future[R], int] = {}
        with process_pool(workers) as pool:
            try:
                while waiting or flying:
                    while waiting and len(flying) < 2 * workers:
                        future = pool.submit(function, items[waiting[0]])
                        flying[future] = waiting.popleft()
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        result = _result(future)
                        yield flying.pop(future), result
            except BrokenProcessPool:
                pass
        for position in flying.values():  # one of them is the cause: alone, each can only break its own pool
            with process_pool(1) as pool:
                try:
                    yield position, _result(pool.submit(function, items[position]))
                except BrokenProcessPool:
                    yield position, WorkerDied("the decoder crashed")


def _result(future: "Future[R]") -> R | Exception:
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except Exception as error:
        return error


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that end with this one, even if it is killed. They are spawned at the first call."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _init_worker)


def _init_worker() -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """End this worker when its parent, the stage, ends or is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
