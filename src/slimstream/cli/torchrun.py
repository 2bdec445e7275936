"""A training stage in several processes on this machine, started by torchrun's launcher.

`dvc repro` runs `python -m slimstream train`; with SLIMSTREAM_PROCESSES=4 that process starts four more with
the same command and waits. For several machines call torchrun on each: `torchrun … -m slimstream train`.
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

from slimstream.core.environment import MEETING
from slimstream.core.errors import Unavailable, UserError
from slimstream.core.parallel import cores

LAUNCHER = "SLIMSTREAM_LAUNCHER"
"""Environment variable with the process id of the launcher, for the processes that it starts."""
TAIL_LINES = 20
"""Number of last lines of a failed process's stderr that are shown."""


def under_torchrun() -> bool:
    """Whether this process was started by torchrun or `run_distributed`."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_main_process() -> bool:
    """Whether this process writes results: it runs alone, or it has rank 0 under torchrun."""
    return not under_torchrun() or os.environ["RANK"] == "0"


def exit_with_launcher() -> None:
    """End this process when the launcher ends.

    The launcher puts each process into its own session, so a killed launcher would leave them running.
    """
    launcher = int(os.environ.get(LAUNCHER) or os.getppid())

    def watch_parent() -> None:
        while os.getppid() == launcher:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()


def let_main_report() -> None:
    """After a UserError: let the main process report it. All other processes wait here until it has ended.

    The main process may be slow on a busy machine, so the wait is up to 30 seconds. It takes that long only
    if the main process does not have the error.
    """
    if not is_main_process():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # an interrupt would count as a failure of this process
        time.sleep(30)


def run_distributed(stage: str, root: Path, processes: int) -> int:
    """Run `stage` in `processes` processes. Returns 0 when all succeed, else the status of their UserError.

    When one process dies, all are stopped. The output of the first is shown; that of another one only when
    it caused the failure. Raises UserError when a process fails in another way.
    """
    os.environ[LAUNCHER] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Its own log lines are replaced by one message below.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # Nothing of it may be reached from another machine: torch's own store listens on all addresses, to
    # whoever connects. Processes of one machine find each other by files, and talk on the loopback interface.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    with tempfile.TemporaryDirectory(prefix="slimstream-") as logs:
        os.environ[MEETING] = (Path(logs) / "processes").as_uri()
        config = LaunchConfig(
            run_id=uuid.uuid4().hex,
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            rdzv_backend="c10d",
            rdzv_endpoint=str(Path(logs) / "launcher"),
            rdzv_configs={"store_type": "file"},
            local_addr="localhost",
            max_restarts=0,  # running the stage again continues from its saved state
            logs_specs=DefaultLogsSpecs(logs, redirects={rank: Std.ALL for rank in range(1, processes)}),
            shutdown_timeout=10,
        )
        try:
            elastic_launch(config, sys.executable)("-m", "slimstream", "--root", str(root), stage)
        except SignalException as error:
            raise KeyboardInterrupt from error
        except ChildFailedError as failed:
            # The cause is the process with the lowest exit code: a signal (negative) first, then a traceback
            # (1), then a UserError (2), which all may have and the first one has shown. SIGTERM is no cause:
            # the launcher sends it to all processes when one has failed.
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
                f"process {rank} of {processes} ended with status {failure.exitcode}, so all were stopped; "
                "run it again to continue from the last epoch."
            ) from None
        finally:
            del os.environ[LAUNCHER], os.environ[MEETING]
    return 0
