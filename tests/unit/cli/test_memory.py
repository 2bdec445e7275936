"""Memory that is freed and asked for again is not cleared again."""

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
