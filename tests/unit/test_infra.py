"""What must hold of infra/: nothing open to the world, nothing secret in git, the same as `make up`."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.services import mlflow, postgres, servers
from infra.services.settings import Home, Settings
from tests.unit.compose_file import INFRA, VARIABLE, example, load

SECRETS = dict.fromkeys(
    ("PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), "a:b"
) | dict.fromkeys(("MLFLOW_FLASK_SERVER_SECRET_KEY", "POSTGRES_PASSWORD"), "c")
ONCE = {"buckets", "deploy"}
"""Services that do one thing and end."""


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = load(variables=example())["services"]
    return found


def test_only_this_box_reaches_what_is_published(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 3 and all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports), ports


def test_every_service_says_how_it_is_or_ends(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == ONCE
    assert {name for name, service in services.items() if "restart" not in service} == ONCE
    for name, service in services.items():
        for before, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if before in ONCE else "service_healthy"
            assert how == {"condition": wanted}, f"{name} on {before}"


def test_images_are_pinned_and_ours_is_built(services: dict[str, Any]) -> None:
    for name, service in services.items():
        tag = service["image"].partition(":")[2]
        assert tag == "local" if "build" in service else re.fullmatch(r"\d+\.\d+", tag), name


def test_volumes_are_named_or_the_checkout_at_its_own_path(services: dict[str, Any]) -> None:
    project = example()["SLIMSTREAM_PROJECT"]
    for name in ("worker", "deploy"):
        assert f"{project}:{project}" in services[name]["volumes"]
        assert services[name]["working_dir"] == project
        assert services[name]["environment"]["PYTHONPATH"] == f"{project}/src"
    known = load(variables=example())["volumes"]
    mounted = {volume.partition(":")[0] for s in services.values() for volume in s.get("volumes", [])}
    assert mounted - {project} - set(known) == {"./databases.sql", "./buckets.py", "./mlflow-auth.ini"}
    assert {name for name in mounted if name.startswith("./") and not (INFRA / name).is_file()} == set()


def test_secrets_are_asked_for_and_lie_in_no_file_of_git() -> None:
    text = (INFRA / "compose.yaml").read_text()
    for line in text.splitlines():
        if re.search(r"(PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY_ID)\w*:", line):
            assert VARIABLE.search(line), line
    wanted = {name for name, rule, _ in VARIABLE.findall(text) if rule != ":-"}
    for name in wanted:
        with pytest.raises(KeyError, match=name):
            load(variables={key: value for key, value in example().items() if key != name})
    lines = (INFRA / ".env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert set(given) == wanted | {"SLIMSTREAM_UID"}
    assert not [name for name in given if given[name] and re.search("PASSWORD|SECRET|AUTH_STRING", name)]
    ignored = subprocess.run(["git", "check-ignore", "-q", "infra/.env"], cwd=INFRA.parent)
    assert ignored.returncode == 0


def test_the_servers_are_told_what_make_up_tells_them(
    services: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {})
    home, settings = Home(tmp_path), Settings(database="postgres")
    told = {name: set(service.get("environment", {})) for name, service in services.items()}
    base = set(servers.base_environment(home)) - {"PATH", "PYTHONPATH", "NO_PROXY", "no_proxy"}
    client = servers.client_environment(home, settings, SECRETS)
    for name in ("prefect", "mlflow", "worker", "deploy"):
        assert base <= told[name], name
    for name in ("worker", "deploy"):
        assert set(client) <= told[name]
    assert set(mlflow.environment(home, settings, SECRETS)) <= told["mlflow"]
    started = {s.name: s for s in servers.services(home, settings, SECRETS)}
    only_prefect = set(started["prefect"].env) - set(servers.base_environment(home))
    assert only_prefect <= told["prefect"]
    for name in only_prefect - {name for name in only_prefect if name.endswith(("URL", "STRING", "ORIGINS"))}:
        assert services["prefect"]["environment"][name] == started["prefect"].env[name]
    for name in ("prefect", "mlflow", "worker"):
        flags = [word for word in started[name].command if word.startswith("--")]
        missing = [flag for flag in flags if flag not in services[name]["command"]]
        assert not missing, name
    for name, value in services["worker"]["environment"].items():
        if name in base:
            assert value == servers.base_environment(home)[name] or name == "PREFECT_HOME"
        if name == "PREFECT_FLOWS_HEARTBEAT_FREQUENCY":
            assert value == client[name]


def test_mlflow_answers_to_our_names_alone(services: dict[str, Any]) -> None:
    command = services["mlflow"]["command"]
    hosts = command[command.index("--allowed-hosts") + 1].split(",")
    assert hosts == ["mlflow:5000", "127.0.0.1:5000", "localhost:5000"]
    origins = command[command.index("--cors-allowed-origins") + 1].split(",")
    assert origins == ["http://127.0.0.1:5000", "http://localhost:5000"]


def test_the_databases_are_those_of_make_up() -> None:
    made = re.findall(r"CREATE DATABASE (\w+);", (INFRA / "databases.sql").read_text())
    assert tuple(made) == postgres.DATABASES
    ours = re.findall(r"^(\w+) = ", (INFRA / "mlflow-auth.ini").read_text(), re.M)
    assert ours == re.findall(r"^(\w+) = ", mlflow._AUTH, re.M)


def test_the_gpu_is_an_option_of_the_worker() -> None:
    (worker,) = load("compose.gpu.yaml")["services"].values()
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_the_image_holds_no_secret_and_does_not_run_as_root() -> None:
    lines = [line for line in (INFRA / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines)
    assert re.search(r"^FROM python:3\.11\.\d+-slim-bookworm$", text, re.M)
    users = re.findall(r"^USER (\w+)$", text, re.M)
    assert users == ["slimstream"] and not re.search("PASSWORD|SECRET|TOKEN|https?://|--index-url", text)
    assert "--require-hashes -r /opt/lock/requirements.lock" in text.replace("\\\n        ", "")
    copied = re.findall(r"^COPY (.+) /opt/lock/$", text, re.M)
    assert copied == ["requirements.lock infra/uv.lock"] and text.count("COPY") == 1
    seen = (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
    assert [line for line in seen if not line.startswith("#")] == [
        "*",
        *(f"!{name}" for name in copied[0].split()),
    ]
