"""Memory that is freed and asked for again is not cleared again, and threads find what others freed."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from slimstream.cli.memory import keep_freed_memory
if {keep}:
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(25_000_000)
before = faults()
for _ in range(5):
    np.ones(25_000_000)
print(faults() - before)
"""


def page_faults(keep: bool) -> int:
    """Of five arrays of 200 MB, one after the other, after a first one."""
    program = PROGRAM.format(keep=keep)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(answer.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again() -> None:
    assert page_faults(keep=True) < 0.1 * page_faults(keep=False)


SHARED = """
import ctypes
import threading
from slimstream.cli.memory import share_memory
if {share}:
    share_memory(2)
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
ready = threading.Barrier(8)
def work():
    ready.wait()
    libc.malloc(1000)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
out = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, out)
libc.fclose(out)
"""


def pools(share: bool) -> int:
    """Pools of memory (glibc's arenas) that eight threads have made."""
    program = SHARED.format(share=share)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return answer.stdout.count("<heap nr=")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_threads_share_memory() -> None:
    assert pools(share=True) <= 2 < pools(share=False)
