"""DVC and the command line as subprocesses, which end with the flow even if it is killed."""

import configparser
import graphlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from slimstream.core.errors import Unavailable, UserError
from slimstream.core.paths import Paths
from slimstream.tracking.repository import in_git

GRACE = 10.0
"""Seconds between asking a process group to stop and killing it."""
UP_TO_DATE = re.compile(r"Stage '.*' didn't change, skipping")
FROM_CACHE = re.compile(r"Stage '.*' is cached - skipping run")
HINT = re.compile(
    r"(To track the changes|\s+git add |To enable auto|\s+dvc config core|Use `dvc push`|Having any troubles"
    r"|Data and pipelines are up to date|(Generating|Updating) lock file|> python -m slimstream"
    r"|WARNING: Process .* in RWLock-file .* had been killed\. Auto removed it|WARNING: '.*' is empty\.)"
)
"""Lines of DVC that tell nothing about this run; they are left out of the log."""
EXIT_STATUS = re.compile(r"exited with (-?\d+)")


class StageFailed(RuntimeError):
    """A stage failed; the message is one sentence."""

    status = 1
    """Exit status of a program that ends with this error."""


class UserMistake(StageFailed):
    """The stage ended with status 2: only the user can correct it, so it is not retried."""

    status = UserError.status


class StageUnavailable(StageFailed):
    """The stage ended with status 3: a service that it needs does not answer or is busy; it is retried."""

    status = Unavailable.status


def stages(root: Path) -> list[str]:
    """Names of all stages from `dvc dag`, each after those it depends on, otherwise as in dvc.yaml.

    Raises StageFailed when DVC fails.
    """
    with ThreadPoolExecutor(1) as pool:  # DVC takes a second to start
        drawn = pool.submit(_dvc_output, root, "dag", "--dot")
        listed = _dvc_output(root, "stage", "list", "--name-only").split()
    edges = re.findall(r'"(.+?)" -> "(.+?)"', drawn.result())
    graph = graphlib.TopologicalSorter({name: set() for name in listed})
    for before, after in edges:
        if before in listed and after in listed:
            graph.add(after, before)
    graph.prepare()
    order: list[str] = []
    while graph.is_active():
        ready = sorted(graph.get_ready(), key=listed.index)
        order += ready
        graph.done(*ready)
    return order


def configure_scm(root: Path, log_line: Callable[[str], None]) -> None:
    """Configure DVC to work without git where the project is in no repository, and with git as soon as it is.

    The setting is in .dvc/config.local of this folder, so a plain `dvc repro` uses it, too.
    """
    local = configparser.ConfigParser(interpolation=None)
    local.read(root / ".dvc" / "config.local", encoding="utf-8")
    without = local.get("core", "no_scm", fallback="").lower() == "true"
    if not without and not in_git(Paths(root)):
        _dvc_output(root, "config", "--local", "core.no_scm", "true")
        log_line("No git repository holds this folder: DVC works without (core.no_scm in .dvc/config.local).")
    elif without and in_git(Paths(root)):
        _dvc_output(root, "config", "--local", "--unset", "core.no_scm")
        log_line("A git repository holds this folder now: DVC works with it (core.no_scm is unset).")


def repro(stage: str, root: Path, log_line: Callable[[str], None], force: bool = False, **env: str) -> str:
    """Reproduce one stage; returns "ran", "cached" (restored from DVC's run cache) or "unchanged".

    Raises the errors of `run`.
    """
    what = ["repro", "--single-item", *(["--force"] if force else []), stage]
    lines = run([sys.executable, "-m", "dvc", *what], root, log_line, stage, env)
    if any(map(UP_TO_DATE.search, lines)):
        return "unchanged"
    return "cached" if any(map(FROM_CACHE.search, lines)) else "ran"


def push(root: Path, log_line: Callable[[str], None], env: Mapping[str, str]) -> str:
    """Push the stages' outputs in `root` to DVC's default remote; returns its name, "" when there is none.

    Raises StageFailed; then the outputs are still in the cache on this machine.
    """
    remote = _dvc_output(root, "config", "core.remote").strip()
    if remote:
        try:
            run([sys.executable, "-m", "dvc", "push", "--remote", remote], root, log_line, "dvc push", env)
        except StageFailed as error:
            raise type(error)(
                f"{error} (nothing is lost: mend the remote '{remote}' and run `dvc push --all-branches`)"
            ) from error
    return remote


def run(
    command: Sequence[str],
    root: Path,
    log_line: Callable[[str], None],
    name: str,
    env: Mapping[str, str] | None = None,
) -> list[str]:
    """Run `command` in `root`, pass every line of its output to `log_line`, and return the last hundred.

    The command leads its own process group, and the whole group is ended when this function returns or
    raises. Raises the errors of `follow`.
    """
    with started(command, root, env) as process:
        return follow(process, log_line, name)


def follow(process: subprocess.Popen[str], log_line: Callable[[str], None], name: str) -> list[str]:
    """Wait for a command that `started` began; pass its output to `log_line`, return the last hundred lines.

    If the command, or the stage that `dvc repro` ran, fails, this raises UserMistake for status 2,
    StageUnavailable for status 3, else StageFailed. `name` is used in the message.
    """
    tail: deque[str] = deque(maxlen=100)
    assert process.stdout is not None
    for line in process.stdout:  # each update of a progress bar is a line, too
        if (line := line.rstrip()) and not HINT.match(line):
            tail.append(line)
            log_line(line)
    status = process.wait()
    if status == 0:
        return list(tail)
    inner = next((int(m[1]) for line in reversed(tail) if (m := EXIT_STATUS.search(line))), status)
    said = [line for line in tail if not re.match(r"(ERROR: |Running stage |> |$)", line)]
    why = said[-1] if said else (tail[-1] if tail else "it said nothing")
    for kind in (UserMistake, StageUnavailable):
        if inner == kind.status:
            raise kind(why)
    raise StageFailed(f"{name} ended with status {inner}: {why}")


def environment(root: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a stage: this interpreter first on PATH, the code of `root`, no analytics."""
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    ours = {
        "PATH": here,
        "PYTHONPATH": str(root.resolve() / "src"),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "true",
        "DO_NOT_TRACK": "1",
    }
    return {**os.environ, **ours, **extra}


@contextmanager
def started(
    command: Sequence[str], root: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run `command` in `root` in its own process group during the block; the group is ended with it."""
    process = subprocess.Popen(
        [sys.executable, "-c", _GUARD, *command],
        cwd=root,
        env=environment(root, env or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[str]) -> None:
    """Send SIGTERM to the group, and after GRACE seconds SIGKILL to its remaining processes."""
    deadline = time.monotonic() + GRACE
    if process.poll() is None and _signal(process.pid, signal.SIGTERM):
        while _signal(process.pid, 0) and time.monotonic() < deadline:
            process.poll()  # removes an ended leader, a zombie, from the group
            time.sleep(0.05)
    _signal(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def _signal(group: int, number: int) -> bool:
    """Send a signal to a process group; returns whether the group exists."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


# A process between the flow and DVC. If the flow is killed by SIGKILL, which runs no `finally`, the standard
# input of this process closes, and it kills the whole group. DVC does not end its children itself.
_GUARD = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def watch():
    os.read(0, 1)
    if child.poll() is None:
        os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.exit(abs(child.wait()))
"""


def _dvc_output(root: Path, *arguments: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        env=environment(root, {}),
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        said = answer.stderr.strip().splitlines() or [f"status {answer.returncode}"]
        raise StageFailed(f"`dvc {' '.join(arguments)}` failed: {said[-1]}")
    return answer.stdout
