"""Background processes that later commands can find and end, together with all their children.

Each program has a mark in its environment, which its children inherit, so that orphans are found, too. A file
contains the id of the first process. If the process with that id has no mark, the system has given the id to
another process. (The start time is no proof, because it changes when the clock is set.)
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

MARK = "SLIMSTREAM_SERVICE"
KEEP = 10_000_000
"""Maximum size of a log in bytes, after which it is moved to <name>.log.1."""
MARKED = 10.0
"""Seconds to wait until the mark of a new process is visible."""


def start(
    name: str,
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    folder: Path,
    user: str | None = None,
) -> None:
    """Start `command` in its own session; its output goes to `folder`/logs/`name`.log."""
    shorten(log := folder / "logs" / f"{name}.log")
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            env={**env, MARK: _mark(folder, name)},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **as_user(user),
        )
    _file(folder, name).write_text(f"{process.pid}\n")
    _until_marked(process)


def _until_marked(process: subprocess.Popen[bytes]) -> None:
    """Wait until the environment of a new process is visible, which is shortly after Popen returns.

    Without a visible mark the process would count as ended.
    """
    deadline = time.monotonic() + MARKED
    while process.poll() is None and time.monotonic() < deadline:
        if MARK in _environ(psutil.Process(process.pid)):
            return
        time.sleep(0.01)


def shorten(log: Path) -> None:
    """Copy a log that is too long to <name>.log.1 and empty it; programs that append to it may continue.

    Without space for the copy it is emptied all the same: a full disk stops more than a log is worth.
    """
    if log.exists() and log.stat().st_size > KEEP:
        with suppress(OSError):
            shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)


def as_user(name: str | None) -> dict[str, Any]:
    """Arguments of Popen that make a command run as another user."""
    if name is None:
        return {}
    import pwd

    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


def leader(folder: Path, name: str) -> psutil.Process | None:
    """The first process of `name`; None when it does not run."""
    try:
        process = psutil.Process(int(_file(folder, name).read_text()))
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None
    return process if _environ(process).get(MARK) == _mark(folder, name) and _alive(process) else None


def family(folder: Path, name: str) -> list[psutil.Process]:
    """All running processes of `name`, including orphans."""
    mark = _mark(folder, name)
    found = {process.pid: process for process in psutil.process_iter() if _environ(process).get(MARK) == mark}
    for process in list(found.values()):
        # Some programs overwrite their environment with a title; they are found as children.
        try:
            found |= {child.pid: child for child in process.children(recursive=True)}
        except psutil.NoSuchProcess:
            continue
    return [process for process in found.values() if process.pid != os.getpid() and _alive(process)]


def stop(folder: Path, name: str, number: int = signal.SIGTERM, patience: float = 30.0) -> bool:
    """End `name` and all its processes: signal `number` to the first one, then SIGKILL to those that remain.

    `patience` is the time in seconds for the first one. Returns whether there was a process to end.
    """
    members = family(folder, name)
    first = leader(folder, name)
    if first is not None:
        _signal(first, number)
        psutil.wait_procs([first], timeout=patience)
    else:
        for process in members:
            _signal(process, signal.SIGTERM)
    # The other processes have a few seconds to end by themselves.
    psutil.wait_procs(members, timeout=5)
    left = {process.pid: process for process in (*members, *family(folder, name)) if _alive(process)}
    for process in left.values():
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(list(left.values()), timeout=10)
    _file(folder, name).unlink(missing_ok=True)
    return bool(members)


def end_children(process: psutil.Process, patience: float) -> None:
    """Send SIGTERM to the children of `process` and wait for their end, at most `patience` seconds."""
    deadline = time.monotonic() + patience
    told: set[int] = set()
    with suppress(psutil.NoSuchProcess):
        while (children := list(filter(_alive, process.children()))) and time.monotonic() < deadline:
            for child in children:
                if child.pid not in told:
                    _signal(child, signal.SIGTERM)
                    told.add(child.pid)
            time.sleep(0.1)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.pid"


def _mark(folder: Path, name: str) -> str:
    return f"{name} in {folder}"


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except (psutil.Error, OSError):
        return {}


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def last_line(log: Path) -> str:
    """The last line of a log that is not empty; "nothing" without one."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
