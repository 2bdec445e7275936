"""A parallel map over the workers of a Dask cluster, with the same guarantees as `core.parallel`.

Items are sent in shards, because a task costs client and scheduler 25 ms. If a worker dies, the scheduler
gives its shard to another one, up to three times (its setting `distributed.scheduler.allowed-failures`).
After that the shard's items are tried one by one, with nothing else running: only one of them may be the
cause.
"""

import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from slimstream.core.cluster import connected, threads
from slimstream.core.errors import UserError
from slimstream.core.parallel import WorkerDied

T = TypeVar("T")
R = TypeVar("R")

SHARD = 16
"""Maximum number of items in a shard; small enough that every thread gets several shards."""

Unfit = Callable[[], str | None]
"""Returns why the calling process cannot do the work, as the end of a sentence; None when it can."""


def dask_map(
    address: str, function: Callable[[T], R], items: Sequence[T], unfit: Unfit
) -> Iterator[tuple[int, R | Exception]]:
    """Yield (position in `items`, function(item)) in order of completion; an exception replaces a result.

    `function` and items must be picklable, and files must have the same paths on all machines. `unfit` is
    called once in every worker. Raises UserError when scheduler or workers do not answer, or when `unfit`
    gives a reason.
    """
    from distributed import KilledWorker

    with connected(address, __name__, function.__module__) as client:
        run, suspects = uuid.uuid4().hex, list[int]()

        def send(shard: Sequence[int]) -> Any:
            return client.submit(_run_shard, function, [items[k] for k in shard], unfit, run, pure=False)

        size = min(SHARD, max(1, len(items) // (4 * threads(client))))
        shards = [range(k, min(k + size, len(items))) for k in range(0, len(items), size)]
        for shard, results in _results(client, send, shards):
            if isinstance(results, KilledWorker):
                suspects += shard
            else:
                yield from zip(shard, results, strict=True)
        for (position,), results in _results(client, send, [[k] for k in suspects], alone=True):
            killed = isinstance(results, KilledWorker)
            yield position, WorkerDied("every worker that took it died") if killed else results[0]


def _results(
    client: Any, send: Callable[[Sequence[int]], Any], shards: Iterable[Sequence[int]], alone: bool = False
) -> Iterator[tuple[Sequence[int], Any]]:
    """Send `shards` to the cluster, one at a time if `alone`, and yield each with its result."""
    from distributed import as_completed

    waiting, done = deque(shards), as_completed(loop=client.loop)
    flying: dict[Any, Sequence[int]] = {}
    while waiting or flying:
        # At most one shard per thread: a shard that waits in a worker that dies would be suspected, too.
        free = (1 if alone else threads(client)) - len(flying)
        for _ in range(min(free, len(waiting))):
            shard = waiting.popleft()
            future = send(shard)
            flying[future] = shard
            done.add(future)
        future = next(done)
        yield flying.pop(future), _shard_result(future)


def _shard_result(future: Any) -> Any:
    """The results of a shard, or KilledWorker; raises any other exception of the shard."""
    from distributed import KilledWorker

    error = future.exception()
    if error is not None and not isinstance(error, KilledWorker):
        raise error
    return future.result() if error is None else error


_asked: dict[str, str | None] = {}
"""The result of `unfit` in this worker, by run."""


def _run_shard(function: Callable[[T], R], shard: list[T], unfit: Unfit, run: str) -> list[R | Exception]:
    if run not in _asked:
        _asked[run] = unfit()
    if why := _asked[run]:
        from distributed import get_worker

        raise UserError(f"the Dask worker {get_worker().address} {why}.")
    return [_try(function, item) for item in shard]


def _try(function: Callable[[T], R], item: T) -> R | Exception:
    try:
        return function(item)
    except Exception as error:
        return error
