"""The workers of a Dask cluster instead of this machine's cores, with the promises of `core.parallel`.

Items are sent in shards, for a task costs client and scheduler a fortieth of a second. A shard whose worker
dies is done again by another one, as often as the scheduler lets it (its setting
`distributed.scheduler.allowed-failures`: three times). After that its items are tried once more, one by one,
with nothing else under way: they may only have been beside the one that kills.
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
"""Items in a shard at most; few enough that every thread gets several."""

Unfit = Callable[[], str | None]
"""What keeps the process that calls it from working, as the end of a sentence; None: nothing."""


def dask_map(
    address: str, function: Callable[[T], R], items: Sequence[T], unfit: Unfit
) -> Iterator[tuple[int, R | Exception]]:
    """Yield (position in `items`, work(item)) as they are done, or the exception instead of the result.

    Functions and items can be pickled, and files have the same paths on all machines. `unfit` is asked once
    in every worker. Raises UserError when scheduler or workers do not answer, or cannot do this work.
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
    """Send out `shards`, one at a time if `alone`, and yield each with what came of it."""
    from distributed import as_completed

    waiting, done = deque(shards), as_completed(loop=client.loop)
    flying: dict[Any, Sequence[int]] = {}
    while waiting or flying:
        # No more at once than can be worked on: what waits beside a killer would look like one, too.
        free = (1 if alone else threads(client)) - len(flying)
        for _ in range(min(free, len(waiting))):
            shard = waiting.popleft()
            future = send(shard)
            flying[future] = shard
            done.add(future)
        future = next(done)
        yield flying.pop(future), _shard_result(future)


def _shard_result(future: Any) -> Any:
    """The results of a shard, or KilledWorker; raises what else kept the shard from being done."""
    from distributed import KilledWorker

    error = future.exception()
    if error is not None and not isinstance(error, KilledWorker):
        raise error
    return future.result() if error is None else error


_asked: dict[str, str | None] = {}
"""What `unfit` said in this worker, by run."""


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
