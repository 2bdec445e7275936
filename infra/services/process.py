"""Programs that outlive the command that starts them, and are found again and ended whole.

Each program has a mark in its environment, which all that it starts inherits: by it even orphans are found. A
file remembers the first process by its id, and one without the mark means nothing: the system gave its id to
somebody else. (Neither does a date of birth tell, for that moves when the clock is set.)
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
"""Bytes a log may have before it is put aside as <name>.log.1."""
MARKED = 10.0
"""Seconds after which a mark that cannot be seen is waited for no longer."""


def start(
    name: str,
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    folder: Path,
    user: str | None = None,
) -> None:
    """Start `command` in a session of its own; its output goes to `folder`/logs/`name`.log."""
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
    """Wait until the system shows the environment of what was started: Popen returns a moment before.

    Without its mark a program that has just begun would be taken for one that has ended.
    """
    deadline = time.monotonic() + MARKED
    while process.poll() is None and time.monotonic() < deadline:
        if MARK in _environ(psutil.Process(process.pid)):
            return
        time.sleep(0.01)


def shorten(log: Path) -> None:
    """Begin a log anew that has grown too long; whoever writes into it may go on, for all of them append."""
    if log.exists() and log.stat().st_size > KEEP:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)


def as_user(name: str | None) -> dict[str, Any]:
    """Arguments of Popen that make a command run as another user."""
    if name is None:
        return {}
    import pwd

    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


def leader(folder: Path, name: str) -> psutil.Process | None:
    """The first process of `name`, if it lives."""
    try:
        process = psutil.Process(int(_file(folder, name).read_text()))
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None
    return process if _environ(process).get(MARK) == _mark(folder, name) and _alive(process) else None


def family(folder: Path, name: str) -> list[psutil.Process]:
    """All living processes of `name`, whoever their parent is by now."""
    mark = _mark(folder, name)
    found = {process.pid: process for process in psutil.process_iter() if _environ(process).get(MARK) == mark}
    for process in list(found.values()):
        # Some programs write their title over their environment: those are known by their parents.
        try:
            found |= {child.pid: child for child in process.children(recursive=True)}
        except psutil.NoSuchProcess:
            continue
    return [process for process in found.values() if process.pid != os.getpid() and _alive(process)]


def stop(folder: Path, name: str, number: int = signal.SIGTERM, patience: float = 30.0) -> bool:
    """End `name` and all it started: the first process by `number`, what is left by force.

    Returns whether there was anything to end.
    """
    members = family(folder, name)
    first = leader(folder, name)
    if first is not None:
        _signal(first, number)
        psutil.wait_procs([first], timeout=patience)
    else:
        for process in members:
            _signal(process, signal.SIGTERM)
    # What outlives its first process had a moment to end by itself.
    psutil.wait_procs(members, timeout=5)
    left = {process.pid: process for process in (*members, *family(folder, name)) if _alive(process)}
    for process in left.values():
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(list(left.values()), timeout=10)
    _file(folder, name).unlink(missing_ok=True)
    return bool(members)


def end_children(process: psutil.Process, patience: float) -> None:
    """SIGTERM to what `process` started itself, until it is gone, for `patience` seconds at most."""
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
    """What a server said last."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
