"""DVC and the command line as subprocesses that leave no orphan, whatever ends the flow."""

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
from contextlib import contextmanager
from pathlib import Path

from slimstream.core.errors import Unavailable, UserError
from slimstream.core.paths import Paths
from slimstream.tracking.run import in_git

GRACE = 10.0
"""Seconds between asking a process group to stop and killing it."""
UP_TO_DATE = re.compile(r"Stage '.*' didn't change, skipping")
FROM_CACHE = re.compile(r"Stage '.*' is cached - skipping run")
HINT = re.compile(
    r"(To track the changes|\s+git add |To enable auto|\s+dvc config core|Use `dvc push`|Having any troubles)"
)
"""What DVC advises whatever happened; in a log it is noise."""
EXIT_STATUS = re.compile(r"exited with (-?\d+)")


class StageFailed(RuntimeError):
    """A stage broke; the message is one sentence."""

    status = 1
    """What a program ends with that can do nothing about it."""


class UserMistake(StageFailed):
    """The stage ended with status 2: the user can mend it and nobody else, so nothing is tried again."""

    status = UserError.status


class StageUnavailable(StageFailed):
    """The stage ended with status 3: what it needs is away or busy, so it is tried again later."""

    status = Unavailable.status


def stages(root: Path) -> list[str]:
    """Names of all stages, each after those it depends on, from `dvc dag`; ties as in dvc.yaml."""
    listed = _dvc_output(root, "stage", "list", "--name-only").split()
    edges = re.findall(r'"(.+?)" -> "(.+?)"', _dvc_output(root, "dag", "--dot"))
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
    """Let DVC work without git where no repository holds the project, and with git as soon as one does.

    The setting stands in .dvc/config.local, which is of this folder alone: a plain `dvc repro` has it, too.
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
    """Reproduce one stage; returns "ran", "cached" (restored from DVC's run cache) or "unchanged"."""
    what = ["repro", "--single-item", *(["--force"] if force else []), stage]
    lines = run([sys.executable, "-m", "dvc", *what], root, log_line, stage, env)
    if any(map(UP_TO_DATE.search, lines)):
        return "unchanged"
    return "cached" if any(map(FROM_CACHE.search, lines)) else "ran"


def push(root: Path, log_line: Callable[[str], None], env: Mapping[str, str]) -> str:
    """Send what the stages in `root` made to DVC's default remote; returns its name, "" when there is none.

    Raises StageFailed; nothing is lost then, for all of it stays in the cache of this box.
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
    """Run `command` in `root`, `tell` every line it writes as it comes, and return the last hundred.

    It is the head of a process group of its own, and the whole group is ended when this function is left, by
    whatever way. When it, or the stage that `dvc repro` ran, fails: raises UserMistake after status 2,
    StageUnavailable after status 3, else StageFailed.
    """
    tail: deque[str] = deque(maxlen=100)
    with _start_group(command, root, environment(root, env or {})) as process:
        assert process.stdout is not None
        for line in process.stdout:  # a bar that rewrites its line arrives line by line, too
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
    """The environment of a stage: this interpreter first on the path, the code of `root`, no analytics."""
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
def _start_group(command: Sequence[str], root: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _GUARD, *command],
        cwd=root,
        env=env,
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
    """SIGTERM to the group, and SIGKILL to what is left of it after GRACE seconds."""
    deadline = time.monotonic() + GRACE
    if process.poll() is None and _signal(process.pid, signal.SIGTERM):
        while _signal(process.pid, 0) and time.monotonic() < deadline:
            process.poll()  # a dead leader stays in its group until it is asked for
            time.sleep(0.05)
    _signal(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def _signal(group: int, number: int) -> bool:
    """Whether there was anyone to hear it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


# Between the flow and DVC: it sees its standard input close when the flow dies by SIGKILL, which runs no
# `finally`, and takes the whole group along. DVC hands its own death to nobody.
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
        raise StageFailed(f"`dvc {' '.join(arguments)}` failed: {answer.stderr.strip().splitlines()[-1:]}")
    return answer.stdout
