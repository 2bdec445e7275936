"""Make waiting threads sleep soon. By default they spin, which takes processor time from other programs.

OpenMP's threads turn 3000 times before they sleep: if they slept at once, a training step on an idle machine
would take a quarter longer, and 3000 turns are too few to hurt other programs (benchmarks/busy.py).

Libraries read these variables when they are loaded, so they are set before. Deployed networks need none: ONNX
Runtime has no thread pool here, and OpenVINO's threads sleep by themselves.
"""

import os
from collections.abc import MutableMapping

PASSIVE_WAITING = {
    "OMP_WAIT_POLICY": "passive",  # PyTorch and scikit-learn
    "GOMP_SPINCOUNT": "3000",  # the same; it has priority over OMP_WAIT_POLICY
    "OPENBLAS_THREAD_TIMEOUT": "14",  # NumPy and SciPy: they spin for 2^14 cycles instead of 2^26
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER": "0",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN": "0",
}


def use_passive_waiting(environ: MutableMapping[str, str] | None = None) -> None:
    """Set the variables of PASSIVE_WAITING that the user has not set.

    `environ` is changed in place; None means this process's environment, which its children inherit.
    """
    environ = os.environ if environ is None else environ
    chosen = {"GOMP_SPINCOUNT"} if "OMP_WAIT_POLICY" in environ else set()  # by the user, with the policy
    for name in PASSIVE_WAITING.keys() - chosen:
        environ.setdefault(name, PASSIVE_WAITING[name])
