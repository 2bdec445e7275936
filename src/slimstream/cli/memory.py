"""Settings of glibc's `malloc` for this process. With another allocator they change nothing."""

import ctypes

ARENA_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD = -8, -3, -1, -2
"""Parameters of `mallopt`."""
KEPT = {MMAP_THRESHOLD: 2**30, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26}
"""Bytes: requests below the first are served from memory that is kept, of which at most the second is free.
It grows by the third."""


def keep_freed_memory() -> None:
    """From now on, let this process keep what it frees, up to 2 GB.

    By default much of it goes back to the operating system at once. Each training step frees its maps and
    asks for as much again, and Linux clears every page anew: on a virtual machine a step of two MobileViT
    takes about a fifth longer for that, and frozen features of eight clips at a time more than twice as long.
    """
    _set(KEPT)


def share_memory(threads: int) -> None:
    """From now on, let all threads of this process share as many pools of freed memory as `threads`.

    By default there are eight a core. What a thread frees stays in its pool, where others do not find it:
    with a thread a camera that is a quarter of what `watch` takes for one.
    """
    _set({ARENA_MAX: threads})


def _set(values: dict[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in values.items():
            mallopt(parameter, value)
