"""A training stage as several processes of this machine, by torchrun's own launcher.

`dvc repro` runs `python -m slimstream train`; with SLIMSTREAM_PROCESSES=4 that starts itself four times and
waits. On several machines torchrun is called directly, on each: `torchrun … -m slimstream train`.
"""

import logging
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

from slimstream.core.errors import Unavailable, UserError
from slimstream.core.parallel import cores

LAUNCHER = "SLIMSTREAM_LAUNCHER"
"""In the environment of the processes: the process id of the one that started them."""
TAIL_LINES = 20
"""Lines shown of what a failed process said last."""


def under_torchrun() -> bool:
    """Whether torchrun, or `run_distributed`, has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_main_process() -> bool:
    """Whether this process is the one that writes: alone, or the first of those that torchrun has started."""
    return not under_torchrun() or os.environ["RANK"] == "0"


def exit_with_launcher() -> None:
    """End when the launcher does, which gives each process a session of its own and, killed, leaves it."""
    launcher = int(os.environ.get(LAUNCHER) or os.getppid())

    def watch_parent() -> None:
        while os.getppid() == launcher:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()


def let_main_report() -> None:
    """After a mistake that all have met: the first one says it and ends, and with it all others.

    The first may be late on a busy machine; only a mistake that it has not met is waited out to the end.
    """
    if not is_main_process():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # an interrupt would be a failure of this one's own
        time.sleep(30)


def run_distributed(stage: str, root: Path, processes: int) -> int:
    """Run `stage` in so many processes; 0 when all succeeded, else the status of the UserError that ended it.

    When one dies, all end. What the first says is shown; what another said, when it was that which failed.
    """
    os.environ[LAUNCHER] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # What it tells of its doings in lines of its own is said here in one.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="slimstream-") as logs:
        config = LaunchConfig(
            run_id=uuid.uuid4().hex,
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,  # whoever runs the stage again goes on from its state
            logs_specs=DefaultLogsSpecs(logs, redirects={rank: Std.ALL for rank in range(1, processes)}),
            shutdown_timeout=10,
        )
        try:
            elastic_launch(config, sys.executable)("-m", "slimstream", "--root", str(root), stage)
        except SignalException as error:
            raise KeyboardInterrupt from error
        except ChildFailedError as failed:
            # Killed says more than a traceback, and that more than a sentence, which all may have said and
            # the first has shown. Being told to end (SIGTERM) says nothing: so are all when one has failed.
            rank, failure = min(
                failed.failures.items(),
                key=lambda item: (item[1].exitcode == -signal.SIGTERM, item[1].exitcode, item[0]),
            )
            for log in Path(logs).glob(f"**/{rank}/stderr.log"):
                print(
                    "".join(log.read_text().splitlines(keepends=True)[-TAIL_LINES:]), file=sys.stderr, end=""
                )
            if failure.exitcode in (UserError.status, Unavailable.status):
                return failure.exitcode
            raise UserError(
                f"process {rank} of {processes} ended with status {failure.exitcode}, and so all did; "
                "run it again to go on from the last epoch."
            ) from None
        finally:
            del os.environ[LAUNCHER]
    return 0
