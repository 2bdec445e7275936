"""Processes that outlive the command that started them, and settings of servers, without any server."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.services import control, process
from infra.services.__main__ import main
from infra.services.servers import services
from infra.services.settings import Home, load, load_secrets, save, unknown_names


def test_a_pid_of_somebody_else_means_nothing(tmp_path: Path) -> None:
    for text in ("", "x", str(os.getpid()), "4194304"):
        (tmp_path / "mlflow.pid").write_text(text)
        assert process.leader(tmp_path, "mlflow") is None


def test_a_log_begins_anew_under_its_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "KEEP", 10)
    log = tmp_path / "mlflow.log"
    with log.open("ab", buffering=0) as writer:
        for line in (b"short\n", b"and a long one\n", b"the next\n"):
            process.shorten(log)
            writer.write(line)
        process.shorten(log)
        writer.write(b"last\n")
    assert log.read_text() == "the next\nlast\n"
    assert log.with_name("mlflow.log.1").read_text() == "short\nand a long one\n"


def test_a_full_disk_empties_a_log_and_ends_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    home, said, ended = Home(tmp_path), list[str](), list[str]()
    home.make()
    log = home.logs / "mlflow.log"
    log.write_text("a long log")
    monkeypatch.setattr(process, "KEEP", 5)
    monkeypatch.setattr(process.shutil, "copyfile", full)

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(control, "up", lambda *_: None)
    monkeypatch.setattr(control.time, "sleep", stop)
    monkeypatch.setattr(control, "_end_all", lambda *_: ended.append("all"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        control.keep(home, said.append)
        assert log.read_text() == "" and said == [] and ended == ["all"], "it was asked to stop"
        log.unlink()
        monkeypatch.setattr(control, "up", full)
        control.keep(home, said.append)
        assert said == ["[Errno 28] No space left on device It will be tried again."]
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_what_nobody_may_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".services"))

    monkeypatch.setattr(control, "status", refused)
    assert main(["status"], tmp_path) == 2
    assert capsys.readouterr().err == (
        f"services status: Permission denied: {tmp_path}/.services; mend it and try again.\n"
    )


def test_a_mistyped_secret_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    load_secrets(home)
    assert unknown_names(home) == []
    with home.secrets.open("a") as file:
        file.write("SLIMSTREAM_WEBHOK=https://x\nAWS_ACCESS_KEY_ID=y\n")
    assert unknown_names(home) == ["SLIMSTREAM_WEBHOK"]


def test_what_has_just_begun_is_not_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, environ = [], process._environ

    def late(of: psutil.Process) -> dict[str, str]:
        """While a program is being loaded the system shows no environment of it."""
        seen.append(of)
        return environ(of) if len(seen) > 2 else {}

    monkeypatch.setattr(process, "_environ", late)
    (tmp_path / "logs").mkdir()
    process.start("x", ["sleep", "60"], os.environ, tmp_path, tmp_path)
    assert process.leader(tmp_path, "x") is not None
    assert process.stop(tmp_path, "x")


def test_orphans_are_found_and_ended(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    script = (
        "import subprocess, time; subprocess.Popen(['sleep', '60'], start_new_session=True); time.sleep(60)"
    )
    process.start("x", [sys.executable, "-c", script], os.environ, tmp_path, tmp_path)
    deadline = time.monotonic() + 30
    while len(process.family(tmp_path, "x")) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    leader = process.leader(tmp_path, "x")
    assert leader is not None
    leader.kill()
    leader.wait()
    (orphan,) = process.family(tmp_path, "x")
    assert process.leader(tmp_path, "x") is None and orphan.name() == "sleep"
    assert process.stop(tmp_path, "x") and not process.family(tmp_path, "x")
    assert not process.stop(tmp_path, "x")


def test_servers_that_the_former_command_started_are_found(tmp_path: Path) -> None:
    """They are known by a mark in their environment and a folder, neither of which names a module."""
    folder = Home(tmp_path).folder
    assert folder == tmp_path / ".services"
    folder.mkdir()
    old = subprocess.Popen(["sleep", "60"], env={**os.environ, "SLIMSTREAM_SERVICE": f"prefect in {folder}"})
    (folder / "prefect.pid").write_text(f"{old.pid}\n")
    try:
        process._until_marked(old)
        found = process.leader(folder, "prefect")
        assert found is not None and found.pid == old.pid
        assert process.stop(folder, "prefect") and not process.family(folder, "prefect")
    finally:
        old.kill()


def test_files_on_s3_are_settled_once_and_keys_reach_who_needs_them(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    save(home, load(home, {"SLIMSTREAM_ARTIFACTS": "s3://plant/mlflow", "SLIMSTREAM_DATABASE": "sqlite"}))
    load_secrets(home)
    with home.secrets.open("a") as file:
        file.write("AWS_ENDPOINT_URL=http://plant:9000\nAWS_SECRET_ACCESS_KEY=a=b\nOTHER=x\n")
    found = {service.name: service.env for service in services(home, load(home), load_secrets(home))}
    assert found["mlflow"]["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://plant/mlflow"
    for name in ("mlflow", "worker"):
        assert found[name]["AWS_ENDPOINT_URL"] == "http://plant:9000"
        assert found[name]["AWS_SECRET_ACCESS_KEY"] == "a=b" and "OTHER" not in found[name]
    assert found["prefect"].get("AWS_ENDPOINT_URL") != "http://plant:9000"
    assert "a=b" not in home.settings.read_text()


def test_the_former_name_of_the_command_is_the_same_command() -> None:
    """Systemd units and crontabs of a user may still call `python -m flows.services`."""
    from flows.services import __main__ as former
    from flows.services import deployments as former_deployments
    from infra.services import deployments

    assert former.main is main and former_deployments.main is deployments.main
